//! Expressions and what they give, as Kubernetes' documentation of its CEL libraries has it.
#![expect(
    clippy::panic,
    reason = "a test that meets something unexpected should stop there"
)]

use plimsoll_cel::{Bindings, Budget, Decl, Env, EvalError, Program, Type, Value};
use rstest::rstest;
use serde_json::{Value as Json, json};

fn data() -> Json {
    json!({
        "minReplicas": 1, "replicas": 3, "maxReplicas": 10,
        "health": "ok", "widgets": [{"key": "a", "foo": 5}, {"key": "b", "foo": 12}],
        "names": ["web", "db", "web"], "numbers": [1, 2, 3], "ratio": 0.5,
        "metadata": {"name": "web-1", "namespace": "prod", "labels": {"app": "web", "x/y": "z"}},
        "nothing": null, "big": [[1, 2], [3]], "text": "hello world",
    })
}

fn evaluate(text: &str) -> Result<Json, EvalError> {
    let env = Env::new().with("self", Decl::new(Type::Dyn));
    let program = Program::compile(text, &env).unwrap_or_else(|e| panic!("{text}: {e}"));
    let data = data();
    let bindings = Bindings::new().with("self", Value::dynamic(&data));
    program
        .evaluate(&bindings, &mut Budget::per_object())
        .and_then(|v| v.to_json())
}

#[rstest]
#[case::order("self.minReplicas <= self.replicas && self.replicas <= self.maxReplicas")]
#[case::index("self.widgets[0].key == 'a' && self.metadata.labels['x/y'] == 'z'")]
#[case::exists("self.widgets.exists(w, w.key == 'b' && w.foo > 10)")]
#[case::all("self.widgets.all(w, w.foo > 1)")]
#[case::exists_one("self.widgets.exists_one(w, w.foo < 10)")]
#[case::map_over_keys("self.metadata.labels.all(k, size(k) == 3)")]
#[case::filter("self.names.filter(n, n == 'web').size() == 2")]
#[case::map_filtered("self.numbers.map(n, n > 1, n * n) == [4, 9]")]
#[case::two_variables("self.numbers.all(i, n, i + 1 == n)")]
#[case::transform_list("self.numbers.transformList(i, n, i * n) == [0, 2, 6]")]
#[case::transform_map(
    "self.metadata.labels.transformMap(k, v, k == 'app', v + '!') == {'app': 'web!'}"
)]
#[case::transform_entry("self.names.transformMapEntry(i, v, i < 2, {v: i}) == {'web': 0, 'db': 1}")]
#[case::bind("cel.bind(n, self.replicas * 2, n + n == 12)")]
#[case::sort_by("self.widgets.sortBy(w, -w.foo).map(w, w.key) == ['b', 'a']")]
#[case::membership(
    "'db' in self.names && 'app' in self.metadata.labels && !('q' in self.metadata)"
)]
#[case::has("has(self.metadata.labels.app) && !has(self.metadata.annotations)")]
#[case::ternary("(self.replicas > 2 ? 'many' : 'few') == 'many'")]
#[case::concat_lists("[1] + [2] == [1, 2]")]
#[case::optional_select("self.metadata.?annotations.?a.orValue('none') == 'none'")]
#[case::optional_index("self.numbers[?9].orValue(7) == 7 && self.numbers[?0].hasValue()")]
#[case::optional_map("optional.of(3).optMap(x, x + 1).value() == 4")]
#[case::optional_entries("[?optional.none(), 1] == [1] && {?'a': optional.none()} == {}")]
#[case::optional_flat("optional.of(3).optFlatMap(x, optional.of(x * 2)).orValue(0) == 6")]
#[case::list_library("[1, 2, 2].sum() == 5 && [3, 1].min() == 1 && [3, 1].max() == 3")]
#[case::sorted("[1, 2].isSorted() && ![2, 1].isSorted() && ['b', 'a'].sort() == ['a', 'b']")]
#[case::positions("self.names.indexOf('web') == 0 && self.names.lastIndexOf('web') == 2")]
#[case::slices("[1, 2, 3].slice(1, 3) == [2, 3] && [1, 2].reverse() == [2, 1]")]
#[case::flatten("self.big.flatten() == [1, 2, 3] && [1, 1, 2].distinct() == [1, 2]")]
#[case::range("lists.range(3) == [0, 1, 2]")]
#[case::sets(
    "sets.contains([1, 2], [2]) && sets.equivalent([1, 2], [2, 1, 1]) && !sets.intersects([1], [2])"
)]
#[case::regex(
    "'web-12'.matches('^web-[0-9]+$') && 'a1b22'.findAll('[0-9]+') == ['1', '22'] && 'x9'.find('[0-9]') == '9'"
)]
#[case::strings(
    "'a,b'.split(',') == ['a', 'b'] && ['a', 'b'].join('-') == 'a-b' && 'ABC'.lowerAscii() == 'abc'"
)]
#[case::substring(
    "'tacocat'.substring(4) == 'cat' && 'tacocat'.substring(0, 4) == 'taco' && 'a'.charAt(0) == 'a'"
)]
#[case::replace("'hello hello'.replace('he', 'we', 1) == 'wello hello' && ' x '.trim() == 'x'")]
#[case::places(
    "'hello mellow'.indexOf('ello', 2) == 7 && 'hello mellow'.lastIndexOf('ello', 6) == 1"
)]
#[case::format("'%s has %d at %.2f (%x)'.format(['a', 3, 1.5, 255]) == 'a has 3 at 1.50 (ff)'")]
#[case::format_nested("'%s'.format([[1, 'a', {'k': true}]]) == '[1, a, {k: true}]'")]
#[case::url(
    "url('https://user:pass@example.com:80/path?query=val#x').getHost() == 'example.com:80'"
)]
#[case::url_parts(
    "url('https://example.com:8080/a b?k=v%20w&k=2').getEscapedPath() == '/a%20b' && url('/x').getScheme() == '' && isURL('https://[::1]:80/') && !isURL('../x')"
)]
#[case::url_query(
    "url('https://e.com/p?k1=a&k2=b&k2=c').getQuery() == {'k1': ['a'], 'k2': ['b', 'c']}"
)]
#[case::host_name(
    "url('https://[::1]:80/').getHostname() == '::1' && url('https://e.com:80/').getPort() == '80'"
)]
#[case::quantity(
    "quantity('500000G').isInteger() && quantity('50k').asInteger() == 50000 && isQuantity('1.3Gi') && !isQuantity('200K')"
)]
#[case::quantity_order(
    "quantity('200M').compareTo(quantity('0.2G')) == 0 && quantity('50Mi').isGreaterThan(quantity('50M'))"
)]
#[case::quantity_sums(
    "quantity('50k').add(20) == quantity('50020') && quantity('50k').sub(quantity('20k')) == quantity('30k') && quantity('-1').sign() == -1"
)]
#[case::ip(
    "ip('192.168.0.1').family() == 4 && ip('::1').isLoopback() && isIP('1.2.3.4') && !isIP('1.2.3') && !ip.isCanonical('2001:DB8::ABCD')"
)]
#[case::cidr(
    "cidr('192.168.0.0/24').containsIP('192.168.0.7') && cidr('192.168.0.0/16').containsCIDR('192.168.10.0/24') && cidr('127.0.0.1/8').masked() == cidr('127.0.0.0/8') && cidr('::1/128').prefixLength() == 128"
)]
#[case::cidr_text(
    "string(cidr('10.0.0.0/8')) == '10.0.0.0/8' && isCIDR('10.0.0.0/8') && !isCIDR('10.0.0.0/33')"
)]
#[case::semver(
    "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.0.0-rc.1').compareTo(semver('1.0.0')) == -1 && semver('v1.2', true).minor() == 2 && !isSemver('1.02.3')"
)]
#[case::named_format(
    "!format.dns1123Label().validate('my-name').hasValue() && format.dns1123Label().validate('My').hasValue() && format.named('uuid').hasValue()"
)]
#[case::timestamps(
    "timestamp('2023-12-25T10:30:05Z').getFullYear() == 2023 && timestamp('2023-12-25T00:00:00Z') + duration('36h') == timestamp('2023-12-26T12:00:00Z')"
)]
#[case::time_parts(
    "timestamp('2023-12-25T10:30:05Z').getMonth() == 11 && timestamp('2023-12-25T10:30:05Z').getDayOfWeek() == 1 && timestamp('2023-12-25T23:30:05Z').getHours('+02:00') == 1"
)]
#[case::durations(
    "duration('1h30m').getMinutes() == 90 && duration('1.5s') > duration('1s') && string(duration('90m')) == '5400s'"
)]
#[case::conversions(
    "int('42') == 42 && string(3.0) == '3' && double(2) == 2.0 && uint(3) == 3u && bytes('a') == b'a' && bool('true')"
)]
#[case::mixed_numbers("1 < 1.5 && 2u > 1 && dyn(1) == 1.0 && self.ratio < 1")]
#[case::types("type(1) == int && type('a') == string && type([]) == list && type(self) == map")]
#[case::math(
    "math.greatest(1, 3, 2) == 3 && math.least([4, 2]) == 2 && math.abs(-3) == 3 && math.ceil(1.2) == 2.0 && math.bitShiftLeft(1, 3) == 8"
)]
#[case::base64("base64.encode(b'hello') == 'aGVsbG8=' && base64.decode('aGVsbG8=') == b'hello'")]
#[case::json_pointer("jsonpatch.escapeKey('k8s.io/my~label') == 'k8s.io~1my~0label'")]
#[case::literals(
    "0x1F == 31 && r'a\\d' == 'a\\\\d' && '''it's''' == \"it's\" && '\\u00e9' == 'é' && -9223372036854775808 < 0"
)]
#[case::errors_give_way("self.nope == 1 || true")]
#[case::and_gives_way("!(self.nope == 1 && false)")]
#[case::keywords_as_fields("self.metadata.namespace == 'prod'")]
#[case::null("self.nothing == null && has(self.nothing)")]
#[case::quoted_fields("{'a-b': 1}.`a-b` == 1")]
#[case::comments("1 == 1 // so it is")]
fn holds(#[case] text: &str) {
    assert_eq!(evaluate(text), Ok(json!(true)), "{text}");
}

#[rstest]
#[case("self.nope", "no such key: nope")]
#[case("self.numbers[5]", "index out of bounds: 5")]
#[case("self.replicas / 0", "division by zero")]
#[case("self.replicas % 0", "modulus by zero")]
#[case("9223372036854775807 + self.replicas", "integer overflow")]
#[case("self.replicas + 'a'", "no such overload")]
#[case(
    "'%d'.format(['a'])",
    "error during formatting: %d does not take a value of type string"
)]
#[case(
    "quantity('x')",
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)]
fn fails_to_evaluate(#[case] text: &str, #[case] message: &str) {
    assert_eq!(evaluate(text).unwrap_err().to_string(), message, "{text}");
}

fn typed() -> Env {
    let spec = Type::object(
        "object",
        [
            ("replicas".to_owned(), Decl::sized(Type::Int, 1)),
            ("name".to_owned(), Decl::new(Type::String)),
            ("foo-bar".to_owned(), Decl::sized(Type::Int, 1)),
            (
                "names".to_owned(),
                Decl::sized(Type::list(Decl::sized(Type::String, 10)), 20),
            ),
        ],
    );
    Env::new().with("self", Decl::new(spec))
}

#[rstest]
#[case("self.replica > 1", "1:5: undefined field 'replica'")]
#[case(
    "self.replicas == 'a'",
    "1:15: found no matching overload for '_==_' applied to '(int, string)'"
)]
#[case(
    "self.replicas + 1 +",
    "1:20: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"
)]
#[case("(self.replicas", "1:15: Syntax error: missing ')' at '<EOF>'")]
#[case(
    "self.replicas 1",
    "1:15: Syntax error: extraneous input '1' expecting <EOF>"
)]
#[case("other.x", "1:1: undeclared reference to 'other' (in container '')")]
#[case("nofn(1)", "1:5: undeclared reference to 'nofn' (in container '')")]
#[case("self.replicas.x", "1:14: type 'int' does not support field selection")]
#[case("self.name.matches('[')", "1:19: invalid matches argument")]
#[case("self.names.all(n, 1)", "1:19: expected type 'bool' but found 'int'")]
#[case(
    "self.replicas.all(n, true)",
    "1:18: expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)"
)]
#[case(
    "self.name.lowerAscii(1)",
    "1:21: found no matching overload for 'lowerAscii' applied to 'string.(int)'"
)]
#[case(
    "self.replicas && true",
    "1:15: found no matching overload for '_&&_' applied to '(int, bool)'"
)]
#[case("namespace == 1", "1:1: reserved identifier: namespace")]
#[case("'a' #", "1:5: Syntax error: token recognition error at: '#'")]
#[case("has(self)", "1:4: invalid argument to has() macro")]
fn does_not_compile(#[case] text: &str, #[case] message: &str) {
    let error = Program::compile(text, &typed())
        .map(|p| p.result().clone())
        .unwrap_err();
    let first = error.to_string();
    let first = first.lines().next().unwrap();
    assert_eq!(first, format!("ERROR: <input>:{message}"));
}

#[rstest]
#[case("self.foo__dash__bar == 3")]
#[case("self.names.map(n, n.size()).sum() == 7")]
#[case("self.names + ['x'] == ['web', 'mail', 'x']")]
fn typed_data_is_read_by_its_schema(#[case] text: &str) {
    let env = typed();
    let program = Program::compile(text, &env).unwrap_or_else(|e| panic!("{e}"));
    let data = json!({"foo-bar": 3.0, "names": ["web", "mail"]});
    let value = Value::of_json(&data, &env.variable("self").unwrap().ty).unwrap();
    let bindings = Bindings::new().with("self", value);
    assert_eq!(
        program.holds(&bindings, &mut Budget::per_object()),
        Ok(true)
    );
}

#[test]
fn a_quadratic_rule_is_cut_off() {
    let env = Env::new().with("self", Decl::new(Type::Dyn));
    let text = "self.all(a, self.all(b, self.all(c, a + b + c >= 0)))";
    let program = Program::compile(text, &env).unwrap();
    let data = json!((0..1000).collect::<Vec<_>>());
    let bindings = Bindings::new().with("self", Value::dynamic(&data));
    let mut budget = Budget::per_object();
    assert_eq!(
        program.holds(&bindings, &mut budget),
        Err(EvalError::CostExceeded)
    );
    assert!(budget.remaining() < 10_000_000 && !budget.is_spent());
}

#[test]
fn text_that_doubles_is_cut_off() {
    let mut text = "'aaaaaaaaaaaaaaaa'".to_owned();
    for level in 0..60 {
        text = format!("cel.bind(v{level}, {text}, v{level} + v{level})");
    }
    let program = Program::compile(&text, &Env::new()).unwrap();
    let outcome = program.evaluate(&Bindings::new(), &mut Budget::per_object());
    assert_eq!(outcome.map(|_| ()), Err(EvalError::CostExceeded));
}

#[test]
fn estimates_follow_the_declared_sizes() {
    let cost = |text: &str| Program::compile(text, &typed()).unwrap().cost();
    assert!(cost("self.names.all(n, n.size() > 0)") < 200);
    assert!(
        cost("self.name.contains('a')") > 10_000_000,
        "the name is unbounded"
    );
    let quadratic = cost("self.names.all(a, self.names.exists(b, a == b))");
    assert!((1000..10_000).contains(&quadratic), "{quadratic}");
}

#[test]
fn composed_variables_are_evaluated_once_and_only_when_asked() {
    let mut env = Env::new().with("object", Decl::new(Type::Dyn));
    let mut programs = Vec::new();
    for (name, text) in [
        ("a", "object.x + 1"),
        ("broken", "object.nope"),
        ("b", "variables.a * 2"),
    ] {
        let program = Program::compile(text, &env).unwrap();
        env.compose(name, program.result().clone());
        programs.push((name.to_owned(), program));
    }
    let rule = Program::compile("variables.b == 8 && variables.a == 4", &env).unwrap();
    let broken = Program::compile("variables.broken == 1", &env).unwrap();
    let data = json!({"x": 3});
    let bindings = Bindings::new()
        .with("object", Value::dynamic(&data))
        .composed(&programs);
    let mut budget = Budget::per_object();
    assert_eq!(rule.holds(&bindings, &mut budget), Ok(true));
    assert_eq!(
        broken
            .holds(&bindings, &mut budget)
            .unwrap_err()
            .to_string(),
        "composited variable \"broken\" fails to evaluate: no such key: nope"
    );
    assert!(Program::compile("variables.c", &env).is_err());
}

/// Rules as published definitions have them, over a list of at most 64 listeners.
#[rstest]
#[case("self.all(l, !(l.protocol in ['HTTP', 'TCP', 'UDP']) || !has(l.tls))")]
#[case("self.all(l, l.protocol in ['TCP', 'UDP'] ? (!has(l.hostname) || l.hostname == '') : true)")]
#[case("self.all(l1, self.exists_one(l2, l1.name == l2.name))")]
#[case(
    "self.all(l1, self.exists_one(l2, l1.port == l2.port && l1.protocol == l2.protocol && (has(l1.hostname) && has(l2.hostname) ? l1.hostname == l2.hostname : !has(l1.hostname) && !has(l2.hostname))))"
)]
#[case(
    "self.all(l, !has(l.hostname) || l.hostname.matches('^[a-z0-9.-]+$') && !l.hostname.contains('..'))"
)]
#[case("self.filter(l, has(l.tls)).map(l, l.name).all(n, n.size() <= 63)")]
#[case("self.exists(l, l.hostname == null) || true")]
fn published_rules_compile_within_the_estimated_budget(#[case] text: &str) {
    let name = || Decl::sized(Type::String, 63 * 4);
    let listener = Type::object(
        "object",
        [
            ("name".to_owned(), name()),
            ("protocol".to_owned(), name()),
            ("hostname".to_owned(), Decl::sized(Type::String, 253 * 4)),
            ("port".to_owned(), Decl::sized(Type::Int, 1)),
            ("tls".to_owned(), Decl::sized(Type::object("object", []), 1)),
        ],
    );
    let list = Decl::sized(Type::list(Decl::sized(listener, 1)), 64);
    let env = Env::new().with("self", list);
    let program = Program::compile(text, &env).unwrap_or_else(|e| panic!("{e}"));
    assert!(
        program.cost() < plimsoll_cel::ESTIMATED_PER_RULE / 4,
        "{}",
        program.cost()
    );
}
