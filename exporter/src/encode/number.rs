//! Numbers as they are exposed.

use std::io::Write;

use rust_decimal::Decimal;

/// Writes a float: the shortest text that reads back as the same number.
pub(super) fn float(out: &mut Vec<u8>, value: f64) {
    match value {
        _ if value.is_nan() => out.extend_from_slice(b"NaN"),
        f64::INFINITY => out.extend_from_slice(b"+Inf"),
        f64::NEG_INFINITY => out.extend_from_slice(b"-Inf"),
        _ => display(out, value),
    }
}

/// Writes an upper bound: always with a point, as Prometheus itself writes those that come by protobuf.
pub(super) fn bound(out: &mut Vec<u8>, bound: f64) {
    // A bound that Go would write with an exponent is not in the catalogue: a test there says so.
    write!(out, "{bound:?}").expect(INTO_MEMORY);
}

/// Writes anything that shows itself.
pub(super) fn display(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    write!(out, "{value}").expect(INTO_MEMORY);
}

const INTO_MEMORY: &str = "writing into memory cannot fail";

/// The float that a text parser makes of the exact decimal, so that all formats have the same number.
pub(super) fn float_of(decimal: Decimal) -> f64 {
    decimal.to_string().parse().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn floats_read_as_prometheus_writes_them() {
        for (value, expected) in
            [(0.0, "0"), (1.0, "1"), (0.1, "0.1"), (f64::INFINITY, "+Inf"), (f64::NEG_INFINITY, "-Inf"), (f64::NAN, "NaN")]
        {
            assert_eq!(text(|out| float(out, value)), expected);
        }
        for (value, expected) in [(0.0, "0.0"), (1.0, "1.0"), (0.25, "0.25"), (524_288.0, "524288.0")] {
            assert_eq!(text(|out| bound(out, value)), expected);
        }
    }

    #[test]
    fn a_decimal_is_the_same_number_in_every_format() {
        for decimal in ["0.1234567", "123456789.0000001", "0.30000000000000004"] {
            let decimal: Decimal = decimal.parse().unwrap();
            assert_eq!(float_of(decimal), text(|out| display(out, decimal)).parse::<f64>().unwrap());
        }
    }
}
