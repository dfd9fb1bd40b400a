//! No text panics, nothing runs for ever.
use plimsoll_cel::{Bindings, Budget, Decl, Env, Program, Type, Value};
use proptest::prelude::*;
use serde_json::json;

fn run(text: &str) {
    let env = Env::new().with("self", Decl::new(Type::Dyn));
    let data = json!({"a": [1, 2, {"b": "c"}], "m": {"x": 1.5}, "s": "text"});
    let bindings = Bindings::new().with("self", Value::dynamic(&data));
    match Program::compile(text, &env) {
        Ok(program) => {
            let outcome = program.evaluate(&bindings, &mut Budget::new(100_000, 100_000));
            drop(outcome.map(|value| value.to_json()));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Pieces that make sense beside each other often enough, one a word.
const PIECES: &str = r#"self .a .m .s [0] [?1] .?q ( ) [ ] { } , : ? 1 2u 1.5 'x' b'y' true null
    + - * / % && || == < >= ! .all(x, .map(x, .exists(i,x, x i .size() .matches( has( cel.bind(x,
    string( int( .split('') .orValue(1) duration('1h') timestamp(0) quantity('1') .format([1])
    .sortBy(x,x) .reverse() lists.range(9) optional.of(1) .substring(1) .flatten() ` \ " é in"#;

fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(PIECES.split_whitespace().collect::<Vec<_>>())
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,60}") {
        run(&text);
    }

    #[test]
    fn arbitrary_sentences_never_panic(pieces in prop::collection::vec(piece(), 0..24)) {
        run(&pieces.join(" "));
    }

    #[test]
    fn integers_survive_a_round_trip(n in any::<i64>()) {
        let program = Program::compile(&format!("int(string({n})) == {n}"), &Env::new()).unwrap();
        prop_assert_eq!(program.holds(&Bindings::new(), &mut Budget::per_object()), Ok(true));
    }

    #[test]
    fn conjunctions_commute(a in any::<bool>(), b in any::<bool>()) {
        let text = format!("({a} && {b}) == ({b} && {a}) && (!({a} && {b})) == (!{a} || !{b})");
        let program = Program::compile(&text, &Env::new()).unwrap();
        prop_assert_eq!(program.holds(&Bindings::new(), &mut Budget::per_object()), Ok(true));
    }
}

#[test]
fn deep_nesting_is_refused_or_evaluated_but_never_overflows() {
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("-", ""),
        ("!", ""),
        ("size([", "])"),
    ] {
        for depth in [90, 150, 5000] {
            run(&format!("{}1{}", open.repeat(depth), close.repeat(depth)));
        }
    }
    run(&format!("1{}", " + 1".repeat(20_000)));
    run(&format!("1{}", " + 1".repeat(190)));
    run(&format!("true{}", " && true".repeat(9_000)));
    run(&format!("self{}", ".a".repeat(30_000)));
    run(&"[1].map(x, ".repeat(100));
    run(&format!("{}x{}", "[1].map(x, ".repeat(90), ")".repeat(90)));
}

#[test]
fn patterns_that_explode_are_refused() {
    run("'aaaa'.matches('((a{1,1000}){1,1000}){1,1000}')");
    run("lists.range(1000).all(i, 'x'.matches('a{' + string(i) + '}'))");
    run("lists.range(9999999999)");
    run(
        "'a'.replace('', 'aaaaaaaaaaaaaaaaaaaaaaaaaaa').replace('', 'bbbbbbbbbbbbbbbbbbb').replace('', 'cccccccccccccccc').replace('', 'dddddddddddddddddddddddddd')",
    );
}
