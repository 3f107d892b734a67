//! Dify rounds in Python: half to even, integers' ratios as decimals, floats by their exact binary value.

/// `numerator / denominator` to two digits, half to even, as `Decimal.quantize` does; zero when there is no denominator.
pub(super) fn ratio_to_cents(numerator: i64, denominator: i64) -> f64 {
    if denominator == 0 {
        return 0.0;
    }
    let (hundreds, denominator) = (i128::from(numerator) * 100, i128::from(denominator));
    let (quotient, rest) = (hundreds.div_euclid(denominator), hundreds.rem_euclid(denominator));
    let up = match (rest * 2).cmp(&denominator) {
        std::cmp::Ordering::Less => 0,
        std::cmp::Ordering::Equal => quotient.rem_euclid(2),
        std::cmp::Ordering::Greater => 1,
    };
    (quotient + up) as f64 / 100.0
}

/// `round(value, digits)` of Python: the nearest decimal of the exact binary value, ties to even.
pub(super) fn float(value: f64, digits: usize) -> f64 {
    if !value.is_finite() {
        return value;
    }
    // Formatting prints the exact expansion rounded half to even, which is what Python's round() is defined by.
    format!("{value:.digits$}").parse().unwrap_or(value)
}

/// The text that Python's `str(Decimal)` gives for a decimal in plain notation: exponents below -6 are written with E.
pub(super) fn python_decimal(plain: &str) -> String {
    let (sign, digits) = plain.strip_prefix('-').map_or(("", plain), |rest| ("-", rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    let coefficient = match all.trim_start_matches('0') {
        "" => "0",
        significant => significant,
    };
    let exponent = -(fraction.len() as i64);
    let adjusted = exponent + coefficient.len() as i64 - 1;
    if adjusted >= -6 {
        return plain.to_owned();
    }
    let (first, rest) = coefficient.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    format!("{sign}{first}{point}{rest}E{adjusted}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_round_half_to_even() {
        assert_eq!(ratio_to_cents(13, 8), 1.62);
        assert_eq!(ratio_to_cents(15, 8), 1.88);
        assert_eq!(ratio_to_cents(2, 3), 0.67);
        assert_eq!(ratio_to_cents(5, 0), 0.0);
    }

    #[test]
    fn floats_round_by_their_exact_value() {
        assert_eq!(float(15.625, 2), 15.62);
        assert_eq!(float(15.635, 2), 15.63); // 15.6349999…
        assert_eq!(float(0.375, 2), 0.38);
        assert_eq!(float(2.5, 0), 2.0);
        assert_eq!(float(44.158_249, 4), 44.1582);
    }

    #[test]
    fn decimals_are_written_as_python_writes_them() {
        assert_eq!(python_decimal("0.0000000"), "0E-7");
        assert_eq!(python_decimal("0.0000967"), "0.0000967");
        assert_eq!(python_decimal("0.0000009"), "9E-7");
        assert_eq!(python_decimal("0.000000123"), "1.23E-7");
        assert_eq!(python_decimal("12.5000000"), "12.5000000");
        assert_eq!(python_decimal("-0.0000001"), "-1E-7");
    }
}
