//! Rules, checked and compiled.

use super::config::{Config, ConfigError, DiscoveryRule, NameMapping, RegexFilter, Replacement};
use super::labels::Labels;
use super::template::{Template, Value, parse};
use regex::Regex;
use std::fmt;

/// A mistake in a file: `rules[2].metricsQuery: position 17: …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub field: String,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.why)
    }
}

/// The rules of a file.
#[derive(Debug, Default)]
pub struct Rules {
    pub(super) custom: Vec<Rule>,
    pub(super) external: Vec<Rule>,
}

/// One rule.
#[derive(Debug)]
pub(super) struct Rule {
    /// Where it stands: `rules[2]`.
    pub(super) place: String,
    /// Selector of its series.
    pub(super) series_query: String,
    /// Conditions on the series' names, with what they must come out at.
    filters: Vec<(Regex, bool)>,
    name: (Regex, String),
    /// Which labels name objects.
    pub(super) labels: Labels,
    /// Whether external queries are narrowed to the namespace of who asks.
    pub(super) namespaced: bool,
    /// The query.
    pub(super) query: Template,
    /// Replacements in label values.
    pub(super) replacements: Vec<Replacement>,
}

impl Rules {
    /// The selectors of the series that rules consider, as often as rules name them.
    pub(super) fn selectors(&self) -> impl Iterator<Item = &String> {
        let all = self.custom.iter().chain(&self.external);
        all.map(|rule| &rule.series_query)
    }

    /// Reads and checks a whole file.
    ///
    /// # Errors
    /// [`ConfigError`], which names every fault.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config = Config::parse(text)?;
        let mut faults = Vec::new();
        let mut compile = |rules: &[DiscoveryRule], of: &str| -> Vec<Rule> {
            let numbered = rules.iter().enumerate();
            let compiled = numbered.filter_map(|(number, rule)| {
                let place = format!("{of}[{number}]");
                Rule::compile(rule, place)
                    .map_err(|mut found| faults.append(&mut found))
                    .ok()
            });
            compiled.collect()
        };
        let custom = compile(&config.rules, "rules");
        let external = compile(&config.external_rules, "externalRules");
        for (number, rule) in config.rules.iter().enumerate() {
            let mapping = &rule.resources;
            if mapping.template.is_empty() && mapping.overrides.is_empty() {
                faults.push(Fault {
                    field: format!("rules[{number}].resources"),
                    why: "a template or overrides must say which labels name objects".to_owned(),
                });
            }
        }
        for (number, rule) in config.external_rules.iter().enumerate() {
            let mapping = &rule.resources;
            let is_bare = mapping.template.is_empty() && mapping.overrides.is_empty();
            if is_bare && mapping.namespaced != Some(false) {
                faults.push(Fault {
                    field: format!("externalRules[{number}].resources"),
                    why: "must say which label names namespaces, or `namespaced: false`".to_owned(),
                });
            }
        }
        if faults.is_empty() {
            Ok(Self { custom, external })
        } else {
            Err(ConfigError::Faulty(faults))
        }
    }

    /// How many rules there are for custom and for external metrics.
    pub fn counts(&self) -> (usize, usize) {
        (self.custom.len(), self.external.len())
    }
}

impl Rule {
    fn compile(rule: &DiscoveryRule, place: String) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults {
            place: &place,
            found: Vec::new(),
        };
        if rule.series_query.trim().is_empty() {
            faults.add("seriesQuery", "must select some series");
        }
        let mut filters: Vec<(Regex, bool)> = Vec::new();
        for (number, filter) in rule.series_filters.iter().enumerate() {
            let field = format!("seriesFilters[{number}]");
            filters.extend(faults.take(&field, compile_filter(filter)));
        }
        let name = faults.take("name", compile_name(&rule.name));
        let labels = match Labels::compile(&rule.resources) {
            Ok(labels) => Some(labels),
            Err(found) => {
                for (field, why) in found {
                    faults.add(&format!("resources.{field}"), &why);
                }
                None
            }
        };
        let query = faults.take("metricsQuery", compile_query(&rule.metrics_query));
        let found = faults.found;
        let (Some(name), Some(labels), Some(query), true) = (name, labels, query, found.is_empty())
        else {
            return Err(found);
        };
        Ok(Self {
            place,
            series_query: rule.series_query.clone(),
            filters,
            name,
            labels,
            namespaced: rule.resources.namespaced.unwrap_or(true),
            query,
            replacements: rule.label_value_replacements.clone(),
        })
    }

    /// What a series is called in the API; `None` if the rule does not want it.
    pub(super) fn metric(&self, series: &str) -> Option<String> {
        let wanted = |(pattern, positive): &(Regex, bool)| pattern.is_match(series) == *positive;
        if !self.filters.iter().all(wanted) {
            return None;
        }
        let found = self.name.0.captures(series)?;
        let mut name = String::new();
        found.expand(&self.name.1, &mut name);
        (!name.is_empty()).then_some(name)
    }
}

struct Faults<'a> {
    place: &'a str,
    found: Vec<Fault>,
}

impl Faults<'_> {
    fn add(&mut self, field: &str, why: &str) {
        self.found.push(Fault {
            field: format!("{}.{field}", self.place),
            why: why.to_owned(),
        });
    }

    fn take<T>(&mut self, field: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|why| self.add(field, &why)).ok()
    }
}

fn compile_filter(filter: &RegexFilter) -> Result<(Regex, bool), String> {
    let (text, positive) = match (filter.is.as_str(), filter.is_not.as_str()) {
        ("", "") => {
            return Err("must have either an `is` or `isNot` expression".to_owned());
        }
        (is, "") => (is, true),
        ("", is_not) => (is_not, false),
        (is, is_not) => {
            return Err(format!(
                "cannot have both an `is` ({is:?}) and an `isNot` ({is_not:?}) expression"
            ));
        }
    };
    Ok((pattern(text)?, positive))
}

fn compile_name(name: &NameMapping) -> Result<(Regex, String), String> {
    let text = if name.matches.is_empty() {
        ".*"
    } else {
        &name.matches
    };
    let pattern = pattern(text)?;
    let replacement = match (name.r#as.as_str(), pattern.captures_len()) {
        ("", 1) => "${0}".to_owned(),
        ("", 2) => "${1}".to_owned(),
        ("", _) => {
            return Err(format!(
                "must specify an 'as' value for name matcher {text:?}"
            ));
        }
        (replacement, _) => replacement.to_owned(),
    };
    Ok((pattern, replacement))
}

fn compile_query(text: &str) -> Result<Template, String> {
    if text.trim().is_empty() {
        return Err("must be a template of a query".to_owned());
    }
    let template = parse(text).map_err(|error| error.to_string())?;
    // Fields that do not exist and arguments of the wrong type show with any values.
    let sample = Value::map([
        ("Series", "series".into()),
        ("LabelMatchers", "a=\"b\"".into()),
        ("LabelValuesByName", Value::map([("a", "b".into())])),
        ("GroupBy", "a".into()),
        ("GroupBySlice", Value::List(vec!["a".into()])),
    ]);
    template
        .render(&sample)
        .map_err(|error| error.to_string())?;
    Ok(template)
}

/// A regular expression; the reason on one line.
fn pattern(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| {
        let lines = error.to_string();
        let last = lines.lines().last().unwrap_or_default();
        format!("{text:?} is not a regular expression: {last}")
    })
}

#[cfg(test)]
mod tests {
    use super::Rules;
    use rstest::rstest;

    fn rule(name: &str, filters: &str) -> super::Rule {
        let text = format!(
            "rules:\n- seriesQuery: x\n  resources: {{template: '<<.Resource>>'}}\n  \
             name: {name}\n  seriesFilters: {filters}\n  metricsQuery: <<.Series>>\n"
        );
        Rules::parse(&text).unwrap().custom.remove(0)
    }

    #[rstest]
    #[case("{}", "[]", "http_total", Some("http_total"))]
    #[case("{matches: '^(.*)_total$'}", "[]", "http_total", Some("http"))]
    #[case(
        "{matches: '^(.*)_total$', as: '${1}_per_second'}",
        "[]",
        "http_total",
        Some("http_per_second")
    )]
    #[case("{matches: '^(.*)_total$'}", "[]", "http_sum", None)]
    #[case("{as: fixed}", "[]", "http_total", Some("fixed"))]
    #[case("{}", "[{is: ^http_}, {isNot: _sum$}]", "http_sum", None)]
    #[case(
        "{}",
        "[{is: ^http_}, {isNot: _sum$}]",
        "http_total",
        Some("http_total")
    )]
    #[case("{}", "[{is: ^http_}]", "grpc_total", None)]
    fn a_series_gets_its_name(
        #[case] name: &str,
        #[case] filters: &str,
        #[case] series: &str,
        #[case] want: Option<&str>,
    ) {
        assert_eq!(rule(name, filters).metric(series).as_deref(), want);
    }

    #[test]
    fn every_fault_of_a_file_is_told_at_once() {
        let text = r"
rules:
- seriesQuery: ''
  seriesFilters: [{is: a, isNot: b}, {}]
  name: {matches: '(a)(b)'}
  resources: {template: '<<.Group>>'}
  metricsQuery: 'sum(<<.Series | toUpper>>)'
externalRules:
- seriesQuery: x
  name: {matches: '('}
  resources: {namespaced: false}
  metricsQuery: '<<.Serie>>'
";
        let error = Rules::parse(text).unwrap_err().to_string();
        let want = "\
rules[0].seriesQuery: must select some series
rules[0].seriesFilters[0]: cannot have both an `is` (\"a\") and an `isNot` (\"b\") expression
rules[0].seriesFilters[1]: must have either an `is` or `isNot` expression
rules[0].name: must specify an 'as' value for name matcher \"(a)(b)\"
rules[0].resources.template: must include at least `<<.Resource>>`
rules[0].metricsQuery: position 17: function \"toUpper\" not defined
externalRules[0].name: \"(\" is not a regular expression: error: unclosed group
externalRules[0].metricsQuery: position 3: there is no field Serie";
        assert_eq!(error, want);
    }

    #[test]
    fn the_example_holds() {
        let text = include_str!("../../../../examples/metrics-rules.yaml");
        assert_eq!(Rules::parse(text).unwrap().counts(), (2, 1));
    }

    #[rstest]
    #[case("rules: [{seriesQuery: x, metricQuery: y}]")]
    #[case("rule: []")]
    #[case("rules: 3")]
    #[case("rules: [")]
    fn what_is_not_the_format_is_refused(#[case] text: &str) {
        assert!(Rules::parse(text).is_err());
    }

    #[rstest]
    #[case("{}", (0, 0))]
    #[case("resourceRules: {cpu: {containerQuery: a, nodeQuery: b, containerLabel: container,
        resources: {overrides: {node: {resource: node}}}}, memory: {}, window: 5m}", (0, 0))]
    #[case("externalRules: [{seriesQuery: x, metricsQuery: '<<.Series>>', resources: {namespaced: false}}]", (0, 1))]
    fn what_is_the_format_is_read(#[case] text: &str, #[case] counts: (usize, usize)) {
        assert_eq!(Rules::parse(text).unwrap().counts(), counts);
    }
}
