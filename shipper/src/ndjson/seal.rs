//! Closing a segment: the small frames that commits left become large ones, and the index is made.
//!
//! The index gets its name before the segment, and the segment before the open file goes: at every instant each document is in a file that
//! readers look at, and a segment without an index is never seen.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::Path;

use dify_observe_core::dify::time::Micros;

use super::disk::Disk;
use super::frame::{self, FRAME_BYTES, Next};
use super::index::IndexWriter;
use super::layout::{Closed, Name};
use super::line;
use super::terms::Terms;

/// How much of a file is read at a time.
const READ_BYTES: usize = 256 << 10;

/// The frames of a file that ends in one, or in a part of one.
#[derive(Debug)]
pub(crate) struct Frames<R> {
    from: R,
    buffer: Vec<u8>,
    ended: bool,
}

impl<R: Read> Frames<R> {
    /// The frames of `from`.
    pub(crate) fn new(from: R) -> Self {
        Frames { from, buffer: Vec::new(), ended: false }
    }

    /// The lines of the next frame; `None` at the end, or where a frame was begun and not completed.
    pub(crate) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            match frame::next(&self.buffer) {
                Next::Frame(length) => {
                    let lines = frame::decode(&self.buffer[..length])?;
                    self.buffer.drain(..length);
                    return Ok(Some(lines));
                }
                Next::Part if self.ended => return Ok(None),
                Next::Part => self.fill()?,
                Next::Damage => return Err(io::Error::new(io::ErrorKind::InvalidData, "something stands in it that is no frame")),
            }
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        // As much again as is there: a large frame is not looked at once for every little piece of it.
        let wanted = self.buffer.len().max(READ_BYTES);
        let read = self.from.by_ref().take(wanted as u64).read_to_end(&mut self.buffer)?;
        self.ended = read < wanted;
        Ok(())
    }
}

/// Closes a complete segment. Its new name; `None` if there was nothing in it.
pub(crate) fn seal(disk: &Disk, root: &Path, name: &Name) -> io::Result<Option<Closed>> {
    let open = root.join(name.open_path());
    let mut from = match File::open(&open) {
        Ok(file) => Frames::new(file),
        // Closed in the meantime.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // The times, which are in the name, are known at the end: until then the files have names that no reader looks at.
    let sealing = |what: &str| root.join(format!(".sealing-{name}.{what}"));
    let mut segment = disk.create(&sealing("segment"))?;
    let mut index = IndexWriter::new(io::BufWriter::new(disk.create(&sealing("index"))?));
    let mut times = None;
    let mut gathered = Vec::new();
    let mut terms = Terms::default();
    loop {
        let next = from.next()?;
        let is_last = next.is_none();
        gathered.extend(next.unwrap_or_default());
        if !gathered.is_empty() && (is_last || gathered.len() >= FRAME_BYTES) {
            let (lines, range) = describe(&gathered, &mut terms);
            let frame = frame::encode(&gathered)?;
            segment.write_all(&frame)?;
            index.add(frame.len() as u64, lines, range, &terms)?;
            times = Some(times.map_or(range, |(first, last): (Micros, Micros)| (first.min(range.0), last.max(range.1))));
            terms.clear();
            gathered = Vec::new();
        }
        if is_last {
            break;
        }
    }
    let closed = times.map(|(first, last)| Closed::new(name.clone(), first, last));
    if let Some(closed) = &closed {
        index.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?.publish_as(&root.join(closed.index_path()))?;
        segment.publish_as(&root.join(closed.path()))?;
    }
    disk.remove(&open)?;
    Ok(closed)
}

/// How many lines there are, and of which times; `terms` gets what they can be found by.
fn describe(text: &[u8], terms: &mut Terms) -> (u32, (Micros, Micros)) {
    let mut count = 0;
    let mut times: Option<(Micros, Micros)> = None;
    for line in line::lines(text) {
        count += 1;
        let Some(head) = line::head(line) else { continue };
        times = Some(times.map_or((head.time, head.time), |(first, last)| (first.min(head.time), last.max(head.time))));
        if let Ok(document) = serde_json::from_slice(line) {
            terms.add(&head, &document);
        }
    }
    (count, times.unwrap_or_default())
}
