//! Answers to Prometheus: one model, three formats.
//!
//! An [`Answer`] is the durable totals and the gauges of this scrape. Each format walks the catalogue and writes family by
//! family into one buffer. What must be equal in every format is decided once, here or in the store: names, order, the
//! number behind a decimal or a sum, and upper bounds that read "1.0", because a server that changes from one format to
//! another would otherwise see other series.

mod negotiate;
mod number;
mod protobuf;
mod text;

use std::io::{self, Write};

pub use negotiate::{Format, accepts_gzip, negotiate};

use crate::store::{GaugeSet, Totals};

/// What a scrape is answered with.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Counters, decimals and histograms.
    pub totals: &'a Totals,
    /// Gauges, facts, and counters that the database keeps.
    pub gauges: &'a GaugeSet,
}

impl Answer<'_> {
    /// Writes the answer to the end of `out`. With a buffer that is used again, an answer allocates next to nothing.
    pub fn encode(&self, format: Format, out: &mut Vec<u8>) {
        match format {
            Format::OpenMetrics => text::write(self, text::Flavor::OpenMetrics, out),
            Format::Text => text::write(self, text::Flavor::Classic, out),
            Format::Protobuf => protobuf::write(self, out),
        }
    }
}

/// The body as gzip, at the level that costs a scrape least.
pub fn gzip(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(body.len() / 8), flate2::Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

#[cfg(test)]
mod tests;
