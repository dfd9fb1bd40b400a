//! Worked examples and laws of quantities.

use plimsoll_quantity::{ParseError, Quantity};
use proptest::prelude::*;
use rstest::rstest;

#[rstest]
#[case("1000m", "1")]
#[case("1024Mi", "1Gi")]
#[case("0.5", "500m")]
#[case("1.5Gi", "1536Mi")]
#[case("100e3", "100e3")]
#[case("1e4", "10e3")]
#[case("1E3", "1e3")]
#[case("0", "0")]
#[case("-0", "0")]
#[case("-1.5", "-1500m")]
#[case("+3", "3")]
#[case("100000", "100k")]
#[case("1Ki", "1Ki")]
#[case("1000Ki", "1000Ki")]
#[case("0.5Ki", "512")]
#[case("0.1n", "1n")]
#[case("-0.1n", "-1n")]
#[case(".5", "500m")]
#[case("5.", "5")]
#[case("1E", "1E")]
#[case("9999999999999999999999E", "9223372036854775807")]
#[case("8Ei", "9223372036854775807")]
#[case("1.000000000000000000001Ei", "1152921504606846977")]
#[case("1e-3", "1e-3")]
#[case("1e-2147483648", "1e-9")]
#[case("1e2147483647", "9223372036854775807")]
#[case("000000000000000000000000000000000000000000000001", "1")]
fn prints_canonically(#[case] text: &str, #[case] canonical: &str) {
    assert_eq!(text.parse::<Quantity>().unwrap().to_string(), canonical);
}

#[rstest]
#[case("", ParseError::Format)]
#[case("-", ParseError::Format)]
#[case("1 Gi", ParseError::Format)]
#[case("1.5.1", ParseError::Format)]
#[case("abc", ParseError::Format)]
#[case("1é", ParseError::Format)]
#[case("Mi", ParseError::Number)]
#[case(".", ParseError::Number)]
#[case("1mi", ParseError::Suffix)]
#[case("1K", ParseError::Suffix)]
#[case("1e", ParseError::Suffix)]
#[case("1e99999999999", ParseError::Suffix)]
fn refuses_bad_text(#[case] text: &str, #[case] error: ParseError) {
    assert_eq!(text.parse::<Quantity>().unwrap_err(), error);
}

#[rstest]
#[case("1001u", 2, 1)]
#[case("-1001u", -2, -1)]
#[case("1.5Gi", 1_610_612_736_000, 1_610_612_736)]
#[case("250m", 250, 1)]
#[case("9223372036854775807", i64::MAX, i64::MAX)]
fn rounds_away_from_zero(#[case] text: &str, #[case] milli: i64, #[case] value: i64) {
    let quantity: Quantity = text.parse().unwrap();
    assert_eq!((quantity.milli(), quantity.value()), (milli, value));
}

#[test]
fn sums_keep_the_family_of_the_first_that_is_not_zero() {
    let mebi: Quantity = "512Mi".parse().unwrap();
    assert_eq!(mebi.add(mebi).to_string(), "1Gi");
    assert_eq!(Quantity::ZERO.add(mebi).to_string(), "512Mi");
    assert_eq!(mebi.sub(mebi).to_string(), "0");
    assert_eq!(Quantity::from_milli(250).mul(4).to_string(), "1");
    assert_eq!(Quantity::from_bytes(1 << 30).to_string(), "1Gi");
    assert_eq!(Quantity::from_nano(1_500).to_string(), "1500n");
}

proptest! {
    #[test]
    fn never_panics(text in "\\PC{0,40}") {
        let parsed = text.parse::<Quantity>();
        prop_assert!(parsed.is_err() || parsed.is_ok_and(|q| q.to_string().is_ascii()));
    }

    #[test]
    fn printing_round_trips_and_is_idempotent(
        text in "[+-]?[0-9]{1,22}(\\.[0-9]{0,22})?(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|e[+-]?[0-9]{1,2})?"
    ) {
        let first: Quantity = text.parse().unwrap();
        let printed = first.to_string();
        let second: Quantity = printed.parse().unwrap();
        prop_assert_eq!(second.to_string(), printed);
        if first.family() != plimsoll_quantity::Family::BinarySi {
            prop_assert_eq!(first, second);
        }
    }

    #[test]
    fn order_is_the_order_of_the_values(a in any::<i64>(), b in any::<i64>()) {
        let (left, right) = (Quantity::from_milli(a), Quantity::from_milli(b));
        prop_assert_eq!(left.cmp(&right), a.cmp(&b));
        let text: Quantity = left.to_string().parse().unwrap();
        prop_assert_eq!(text.milli(), a);
    }
}
