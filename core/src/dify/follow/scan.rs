//! Walking a table that has no index on its time: in ranges of blocks, at a bounded rate, resumable.

use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::dify::time::Micros;

/// Most blocks of one statement.
const LARGEST_RANGE: u32 = 2048;
/// Longest time for which an unused allowance is saved up.
const LONGEST_SAVING: Duration = Duration::from_secs(60);

/// Where a pass over a table stands.
///
/// Rows land in any free block, so only a whole pass shows everything. A row that moves behind the scan while a pass runs
/// (its update went to an earlier block) is found by the next pass, so what is *through* is what the previous pass began with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scan {
    next_block: u32,
    /// Up to when commits were visible when the pass began.
    pass_began: Option<Micros>,
    previous_pass_began: Option<Micros>,
    /// Blocks per statement; shrinks while a range holds more new ids than a step can take.
    range: u32,
    /// Blocks that may be read now.
    allowance: u64,
    refilled_at: Option<Micros>,
    /// Records open at the anchor that a first, unfinished pass has found.
    pub(crate) open_at_anchor: Vec<Uuid>,
    /// Blocks read since the state was made.
    pub(crate) blocks_read: u64,
}

impl Scan {
    /// Adds what the time since the last refill allows.
    pub(crate) fn refill(&mut self, now: Micros, pages_per_second: u32) {
        let saved = self.refilled_at.map_or(Duration::from_secs(1), |last| now.since(last)).min(LONGEST_SAVING);
        let most = u64::from(pages_per_second) * LONGEST_SAVING.as_secs();
        let gained = u64::try_from(saved.as_millis()).unwrap_or(u64::MAX).saturating_mul(u64::from(pages_per_second)) / 1000;
        self.allowance = self.allowance.saturating_add(gained).min(most);
        self.refilled_at = Some(now);
    }

    /// Begins a pass where none is under way.
    pub(crate) fn begin(&mut self, edge: Option<Micros>) {
        if self.next_block == 0 {
            self.pass_began = edge;
        }
    }

    /// The next range to read, within the allowance; `None` when the pass is over or nothing more may be read now.
    pub(crate) fn next_range(&self, blocks: u32) -> Option<Range<u32>> {
        let size = if self.range == 0 { LARGEST_RANGE } else { self.range };
        let allowed = u32::try_from(self.allowance).unwrap_or(u32::MAX).min(size);
        (self.next_block < blocks && allowed > 0).then(|| self.next_block..self.next_block.saturating_add(allowed).min(blocks))
    }

    /// Notes that a range was read. One whose new ids did not all fit is read again.
    pub(crate) fn consume(&mut self, range: &Range<u32>, fits: bool, new_ids: usize) {
        let read = range.end - range.start;
        self.allowance = self.allowance.saturating_sub(u64::from(read));
        self.blocks_read += u64::from(read);
        if fits {
            self.next_block = range.end;
            self.range = if new_ids == 0 { read.saturating_mul(2).clamp(1, LARGEST_RANGE) } else { read.max(1) };
        } else {
            self.range = (read / 2).max(1);
        }
    }

    /// When the pass has read every block: begins anew, and says up to when commits are certain to have been seen.
    pub(crate) fn finish_pass(&mut self, blocks: u32) -> Option<Micros> {
        if self.next_block < blocks {
            return None;
        }
        self.next_block = 0;
        let seen_through = self.previous_pass_began;
        self.previous_pass_began = self.pass_began;
        Some(seen_through.unwrap_or(Micros::MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(scan: &mut Scan, blocks: u32) -> u32 {
        let mut read = 0;
        while let Some(range) = scan.next_range(blocks) {
            read += range.end - range.start;
            scan.consume(&range, true, 0);
        }
        read
    }

    #[test]
    fn an_hour_reads_no_more_than_the_rate_allows() {
        let mut scan = Scan::default();
        let mut read = 0;
        for second in (0..3600).step_by(15) {
            scan.refill(Micros::from_secs(second), 100);
            scan.begin(Some(Micros::from_secs(second)));
            read += u64::from(pass(&mut scan, 1_000_000));
            scan.finish_pass(1_000_000);
        }
        assert!(read <= 3600 * 100 && read > 3500 * 100, "{read}");
    }

    #[test]
    fn only_a_second_pass_makes_sure() {
        let mut scan = Scan::default();
        let edge = |second| Some(Micros::from_secs(second));
        scan.refill(Micros::from_secs(0), 1_000_000);
        scan.begin(edge(10));
        pass(&mut scan, 500);
        assert_eq!(scan.finish_pass(500), Some(Micros::MIN));
        scan.begin(edge(20));
        pass(&mut scan, 500);
        assert_eq!(scan.finish_pass(500), edge(10));
    }

    #[test]
    fn a_range_with_too_many_new_ids_is_read_again_in_smaller_parts() {
        let mut scan = Scan::default();
        scan.refill(Micros::from_secs(0), 1_000_000);
        let range = scan.next_range(5_000).expect("there is allowance");
        scan.consume(&range, false, 9);
        let again = scan.next_range(5_000).expect("there is allowance");
        assert_eq!((again.start, again.end), (range.start, range.start + (range.end - range.start) / 2));
    }
}
