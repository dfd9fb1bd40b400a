//! The Helm chart, written from the same templates.

use super::hole::{Template, When, printed_hole, replace_holes};
use super::values::{self, Values};
use serde_json::{Value, json};

/// A file of the chart: its path below the chart's folder, and its text.
pub(super) type File = (String, String);

/// Every file of the chart.
pub(super) fn files(
    templates: &[Template],
    definitions: &[Value],
    print: fn(&Value) -> String,
) -> Vec<File> {
    let mut files = vec![
        ("Chart.yaml".to_owned(), print(&chart())),
        ("values.yaml".to_owned(), values::to_yaml(print)),
        (".helmignore".to_owned(), ".*\n*.tmp\n".to_owned()),
        ("templates/NOTES.txt".to_owned(), NOTES.to_owned()),
    ];
    for definition in definitions {
        let name = definition.pointer("/spec/names/plural");
        let name = name.and_then(Value::as_str).unwrap_or("kinds");
        files.push((format!("crds/{name}.yaml"), print(definition)));
    }
    let known = Values::default();
    for template in templates {
        let text = conditional(template, &to_template(&print(&template.object), &known));
        files.push((format!("templates/{}.yaml", template.file), text));
    }
    files
}

fn chart() -> Value {
    json!({
        "apiVersion": "v2",
        "name": "plimsoll",
        "description": "Horizontal autoscaling that can say why",
        "type": "application",
        "version": env!("CARGO_PKG_VERSION"),
        "appVersion": env!("CARGO_PKG_VERSION"),
        "kubeVersion": ">=1.29.0-0",
        "keywords": ["autoscaling", "hpa", "metrics"],
    })
}

const NOTES: &str = "\
Plimsoll runs in namespace {{ .Release.Namespace }}.

  kubectl -n {{ .Release.Namespace }} get deploy,lease
  kubectl -n {{ .Release.Namespace }} logs deploy/plimsoll

Ask why an autoscaler did what it did:

  plimsoll explain hpa/NAME
";

/// Puts the template's condition around its text.
fn conditional(template: &Template, text: &str) -> String {
    let everywhere = "(not $.Values.scope.namespaces)";
    let opening = match template.when {
        When::Always => return text.to_owned(),
        When::True(path) => format!("{{{{- if $.Values.{path} }}}}"),
        When::Serves(api) => {
            format!("{{{{- if and {everywhere} (has \"{api}\" $.Values.apis) }}}}")
        }
        When::Everywhere => format!("{{{{- if {everywhere} }}}}"),
        When::EachNamespace => {
            return format!(
                "{{{{- range $.Values.scope.namespaces }}}}\n---\n{text}{{{{- end }}}}\n"
            );
        }
    };
    format!("{opening}\n{text}{{{{- end }}}}\n")
}

/// Turns each hole of a printed object into what Helm fills it with.
fn to_template(printed: &str, known: &Values) -> String {
    let lines = printed.lines().map(|line| to_template_line(line, known));
    let mut text: String = lines.map(|line| line + "\n").collect();
    // What Go's templates would take for theirs is none of ours.
    text.retain(|letter| letter != '\r');
    text
}

fn to_template_line(line: &str, known: &Values) -> String {
    let indent = line.len() - line.trim_start().len();
    let spaces = " ".repeat(indent);
    if let Some(item) = line.trim_start().strip_prefix("- ")
        && let Some(path) = printed_hole(item).and_then(|hole| hole.strip_suffix("|items"))
    {
        return format!(
            "{spaces}{{{{- with $.Values.{path} }}}}{{{{ toYaml . | nindent {indent} }}}}{{{{- end }}}}"
        );
    }
    if let Some((key, scalar)) = line.split_once(": ")
        && let Some(hole) = printed_hole(scalar)
    {
        return match known.at(hole) {
            Value::Array(_) | Value::Object(_) => format!(
                "{key}:{{{{ toYaml $.Values.{hole} | nindent {} }}}}",
                key.len() - key.trim_start().trim_start_matches("- ").len() + 2
            ),
            Value::String(_) => format!("{key}: {{{{ $.Values.{hole} | quote }}}}"),
            Value::Null => format!("{key}: {}", expression(hole)),
            Value::Bool(_) | Value::Number(_) => format!("{key}: {{{{ $.Values.{hole} }}}}"),
        };
    }
    replace_holes(line, expression)
}

fn expression(hole: &str) -> String {
    match hole {
        "Namespace" => "{{ $.Release.Namespace }}".to_owned(),
        "Item" => "{{ . }}".to_owned(),
        _ => match hole.strip_suffix("|join") {
            Some(path) => format!("{{{{ join \",\" $.Values.{path} }}}}"),
            None => format!("{{{{ $.Values.{hole} }}}}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::to_template_line;
    use crate::install::values::Values;

    #[test]
    fn holes_become_what_helm_fills() {
        let known = Values::default();
        let cases = [
            (
                "  replicas: ⟦replicas⟧",
                "  replicas: {{ $.Values.replicas }}",
            ),
            (
                "  pull: \"⟦image.pullPolicy⟧\"",
                "  pull: {{ $.Values.image.pullPolicy | quote }}",
            ),
            (
                "      resources: ⟦resources⟧",
                "      resources:{{ toYaml $.Values.resources | nindent 8 }}",
            ),
            (
                "    - resources: ⟦resources⟧",
                "    - resources:{{ toYaml $.Values.resources | nindent 8 }}",
            ),
            (
                "    - ⟦extraArgs|items⟧",
                "    {{- with $.Values.extraArgs }}{{ toYaml . | nindent 4 }}{{- end }}",
            ),
            (
                "    - --serve=⟦apis|join⟧",
                "    - --serve={{ join \",\" $.Values.apis }}",
            ),
            (
                "  namespace: ⟦Namespace⟧",
                "  namespace: {{ $.Release.Namespace }}",
            ),
        ];
        for (printed, want) in cases {
            assert_eq!(to_template_line(printed, &known), want);
        }
    }
}
