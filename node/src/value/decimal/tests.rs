use proptest::prelude::*;

use super::*;

fn d(text: &str) -> Decimal {
    Decimal::parse(text).unwrap().unwrap()
}

fn shown(result: Result<Decimal, SqlError>) -> String {
    match result {
        Ok(decimal) => decimal.to_string(),
        Err(error) => error.body.code.as_str().to_owned(),
    }
}

#[test]
fn a_decimal_is_read_and_shown_with_its_scale() {
    for (text, expected) in [
        ("1.50", "1.50"),
        ("-0.0", "0.0"),
        (".5", "0.5"),
        ("5.", "5"),
        ("+00012", "12"),
        ("1e3", "1000"),
        ("1.5e1", "15"),
        ("1.5e-3", "0.0015"),
        ("-12.345e2", "-1234.5"),
    ] {
        assert_eq!(d(text).to_string(), expected, "{text}");
    }
    for text in ["", ".", "e1", "1e", "1e+-1", "1.2.3", "0x1", "1 2", "--1"] {
        assert!(Decimal::parse(text).unwrap().is_none(), "{text}");
    }
    for text in ["1e200000", "1e-20000", "1e99999999999"] {
        assert_eq!(Decimal::parse(text).unwrap_err().body.code, state::NUMERIC_VALUE_OUT_OF_RANGE);
    }
}

#[test]
fn arithmetic_has_the_scales_of_cockroachdb() {
    assert_eq!(shown(d("1.10").plus(&d("2.205"))), "3.305");
    assert_eq!(shown(d("1.5").times(&d("1.50"))), "2.250");
    assert_eq!(shown(d("7").divided(&d("2"))), "3.5");
    assert_eq!(shown(d("4").divided(&d("2"))), "2");
    assert_eq!(shown(d("100").divided(&d("10"))), "10");
    assert_eq!(shown(d("2.40").divided(&d("2"))), "1.20");
    assert_eq!(shown(d("1").divided(&d("3"))), "0.33333333333333333333");
    assert_eq!(shown(d("2").divided(&d("3"))), "0.66666666666666666667");
    assert_eq!(shown(d("-200").divided(&d("3"))), "-66.666666666666666667");
    assert_eq!(shown(d("1").divided(&d("0"))), "22012");
    assert_eq!(shown(d("-7.5").remainder(&d("2"))), "-1.5");
    assert_eq!(shown(d("2.5").rounded(0)), "3");
    assert_eq!(shown(d("-2.5").rounded(0)), "-3");
    assert_eq!(shown(d("1234.567").rounded(-2)), "1200");
    assert_eq!(shown(d("1.2").rounded(3)), "1.200");
    assert_eq!(shown(d("-1.99").truncated(1)), "-1.9");
    assert_eq!(d("-1.5").floor().to_string(), "-2");
    assert_eq!(d("-1.5").ceiling().to_string(), "-1");
    assert_eq!(shown(d("2").square_root()), "1.4142135623730950488");
    assert_eq!(shown(d("6.25").square_root()), "2.5");
    assert_eq!(shown(d("-1").square_root()), "2201F");
    assert_eq!(shown(d("1").exponential()), "2.7182818284590452354");
    assert_eq!(shown(d("10").logarithm()), "2.3025850929940456840");
    assert_eq!(shown(d("1000").logarithm_10()), "3");
    assert_eq!(shown(d("0").logarithm()), "2201E");
    assert_eq!(shown(d("2").power(&d("10"))), "1024");
    assert_eq!(shown(d("2").power(&d("-1"))), "0.5");
    assert_eq!(shown(d("2").power(&d("0.5"))), "1.4142135623730950488");
}

#[test]
fn a_bound_rounds_and_refuses() {
    let bound = DecimalBound { precision: 4, scale: 2 };
    assert_eq!(shown(d("12.345").fitted(bound)), "12.35");
    assert_eq!(shown(d("99.994").fitted(bound)), "99.99");
    assert_eq!(shown(d("99.995").fitted(bound)), "22003");
    assert_eq!(shown(d("0").fitted(DecimalBound { precision: 2, scale: 2 })), "0.00");
}

proptest! {
    #[test]
    fn texts_are_ordered_as_their_values(a in -9_999_i64..9_999, b in -9_999_i64..9_999, p in 0_u32..4, q in 0_u32..4) {
        let (x, y) = (Decimal::new(a.into(), p), Decimal::new(b.into(), q));
        let by_value = (a * 10_i64.pow(4 - p)).cmp(&(b * 10_i64.pow(4 - q)));
        let (x, y) = (x.to_string(), y.to_string());
        prop_assert_eq!(compare(&x, &y), by_value);
        prop_assert_eq!(key(&x) == key(&y), by_value == Ordering::Equal);
    }

    #[test]
    fn groups_are_read_again(a in any::<i64>(), scale in 0_u32..30) {
        let decimal = Decimal::new(a.into(), scale);
        let (negative, groups, weight) = decimal.groups();
        prop_assert_eq!(Decimal::from_groups(negative, &groups, weight, scale), Some(decimal.clone()));
        prop_assert_eq!(Decimal::from_canonical(&decimal.to_string()).unwrap(), decimal);
    }

    #[test]
    fn a_quotient_times_the_divisor_is_near(a in 1_i64..i64::MAX, b in 1_i64..i64::MAX) {
        let quotient = Decimal::from_int(a).divided(&Decimal::from_int(b)).unwrap();
        let back = quotient.times(&Decimal::from_int(b)).unwrap().rounded(0).unwrap();
        let error = back.minus(&Decimal::from_int(a)).unwrap().absolute();
        prop_assert!(error.to_int().unwrap() <= 1);
    }
}
