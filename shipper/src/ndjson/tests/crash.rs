//! A writer that dies at any operation, power lost or not: what it committed is there once, and nothing else.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use dify_observe_core::dify::time::Micros;
use dify_observe_tests::seed;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};

use crate::ndjson::disk::{Disk, Fault, Faults};
use crate::ndjson::files::{Files, Limits, closed_segments, open_segments};
use crate::ndjson::seal::{Frames, seal};
use crate::ndjson::{index, line};

/// Passes some operations on; then the process is dead, perhaps in the middle of a write.
#[derive(Debug)]
struct Death {
    left: AtomicI64,
    /// How much of the last write arrives, of 256 parts.
    part: usize,
}

impl Faults for Death {
    fn next(&self, bytes: usize) -> Option<Fault> {
        let dead = || io::Error::other("dead");
        match self.left.fetch_sub(1, Ordering::SeqCst) {
            left if left > 0 => None,
            0 if bytes > 0 => Some(Fault::Torn(bytes * self.part / 256, dead())),
            _ => Some(Fault::Fails(dead())),
        }
    }
}

const LIMITS: Limits = Limits { bytes: 600, age: Duration::from_secs(3600) };

/// What a pipeline does: gives numbers in order from where it is told to begin, commits now and then, seals.
struct Pipeline<'a> {
    root: &'a Path,
    random: ChaCha8Rng,
    /// What the last commit that came back covered.
    acknowledged: u64,
}

impl Pipeline<'_> {
    fn live(&mut self, disk: &Disk, steps: u32) -> io::Result<()> {
        let now = Micros(1_000_000_000);
        let (mut files, checkpoint) = Files::open::<u64>(self.root, "live", LIMITS, disk.clone(), now)?;
        let mut next = checkpoint.unwrap_or_default();
        assert!(next >= self.acknowledged, "{next} after {}", self.acknowledged);
        for _ in 0..steps {
            match self.random.next_u32() % 8 {
                0..=3 => {
                    for _ in 0..self.random.next_u32() % 4 {
                        files.append(&line_of(next), now);
                        next += 1;
                    }
                }
                4 => files.flush()?,
                5..=6 => {
                    files.flush()?;
                    files.sync()?;
                    files.commit(&next, now)?;
                    self.acknowledged = next;
                }
                _ => {
                    files.rotate::<u64>(now, self.random.next_u32().is_multiple_of(4))?;
                    seal_complete(disk, self.root, files.number())?;
                }
            }
        }
        Ok(())
    }
}

fn seal_complete(disk: &Disk, root: &Path, number: u64) -> io::Result<()> {
    for name in open_segments(root)?.into_iter().filter(|name| name.number < number) {
        seal(disk, root, &name)?;
    }
    Ok(())
}

fn line_of(number: u64) -> Vec<u8> {
    let head = format!("{{\"_id\":\"{number}\",\"_kind\":\"message\",\"_version\":1,\"_time\":{},\"n\":{number},", number * 1_000_000);
    format!("{head}\"text\":\"{}\"}}\n", "word ".repeat(number as usize % 30)).into_bytes()
}

/// How often each number is in the files that readers look at.
fn counted(root: &Path) -> BTreeMap<u64, u32> {
    let closed: Vec<_> = closed_segments(root).unwrap();
    let sealed: Vec<_> = closed.iter().map(|closed| closed.name.clone()).collect();
    let open = open_segments(root).unwrap().into_iter().filter(|name| !sealed.contains(name)).map(|name| name.open_path());
    let mut counted = BTreeMap::new();
    for path in closed.iter().map(super::super::layout::Closed::path).chain(open) {
        let mut frames = Frames::new(File::open(root.join(path)).unwrap());
        while let Some(text) = frames.next().unwrap() {
            for line in line::lines(&text) {
                let value: serde_json::Value = serde_json::from_slice(line).unwrap();
                *counted.entry(value["n"].as_u64().unwrap()).or_default() += 1;
            }
        }
    }
    counted
}

/// Power is lost: of the file that is written, any part that was not synced may be gone.
fn lose_power(root: &Path, synced: &BTreeMap<String, u64>, random: &mut ChaCha8Rng) {
    for name in open_segments(root).unwrap() {
        let path = name.open_path();
        let file = File::options().write(true).open(root.join(&path)).unwrap();
        let length = file.metadata().unwrap().len();
        let kept = synced.get(&path).copied().unwrap_or_default().min(length);
        file.set_len(kept + u64::from(random.next_u32()) % (length - kept + 1)).unwrap();
    }
}

/// What the position file says is synced. Segments before it are, as a whole.
fn synced(root: &Path) -> BTreeMap<String, u64> {
    let position = crate::ndjson::position::read::<u64>(&crate::ndjson::files::position_path(root, "live")).unwrap();
    let writing = position.map(|position| position.segment).unwrap_or_default();
    let length = |number| {
        if number < writing.number {
            u64::MAX
        } else if number == writing.number {
            writing.length
        } else {
            0
        }
    };
    open_segments(root).unwrap().into_iter().map(|name| (name.open_path(), length(name.number))).collect()
}

#[test]
fn what_is_committed_is_there_once_through_deaths_at_any_operation() {
    let seed = seed("what_is_committed_is_there_once_through_deaths_at_any_operation");
    let (mut deaths, mut sealed) = (0, 0);
    for history in 0..seed::length(4, 400) {
        let folder = tempfile::tempdir().unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(seed + history);
        let mut pipeline = Pipeline { root: folder.path(), random: ChaCha8Rng::seed_from_u64(random.next_u64()), acknowledged: 0 };
        for _ in 0..30 {
            let left = AtomicI64::new(i64::from(random.next_u32() % 120));
            let death = Arc::new(Death { left, part: random.next_u32() as usize % 256 });
            let died = pipeline.live(&Disk { faults: Some(death.clone()) }, 60).is_err();
            deaths += u32::from(died);
            if random.next_u32().is_multiple_of(2) {
                lose_power(folder.path(), &synced(folder.path()), &mut random);
            }
        }
        // A last start, and nothing more is written.
        let now = Micros(1_000_000_000);
        let (mut files, checkpoint) = Files::open::<u64>(folder.path(), "live", LIMITS, Disk::default(), now).unwrap();
        let covered = checkpoint.unwrap_or_default();
        assert!(covered >= pipeline.acknowledged);
        let expected: BTreeMap<u64, u32> = (0..covered).map(|number| (number, 1)).collect();
        assert_eq!(counted(folder.path()), expected, "seed {}", seed + history);
        files.rotate::<u64>(now, true).unwrap();
        seal_complete(&Disk::default(), folder.path(), files.number()).unwrap();
        assert_eq!(counted(folder.path()), expected, "seed {}, sealed", seed + history);
        assert_eq!(open_segments(folder.path()).unwrap(), []);
        sealed += closed_segments(folder.path()).unwrap().len();
    }
    assert!(deaths > 40 && sealed > 8, "{deaths} deaths, {sealed} segments");
}

#[test]
fn documents_whose_position_was_lost_stay() {
    let folder = tempfile::tempdir().unwrap();
    let now = Micros(1_000_000_000);
    let (mut files, _) = Files::open::<u64>(folder.path(), "live", LIMITS, Disk::default(), now).unwrap();
    files.append(&line_of(0), now);
    files.flush().unwrap();
    files.sync().unwrap();
    files.commit(&1_u64, now).unwrap();
    std::fs::remove_file(folder.path().join(".position-live")).unwrap();
    // And the end of the file is torn.
    let path = folder.path().join(open_segments(folder.path()).unwrap()[0].open_path());
    let torn = [std::fs::read(&path).unwrap(), crate::ndjson::frame::encode(b"{}\n").unwrap()[..9].to_vec()].concat();
    std::fs::write(&path, torn).unwrap();

    let (files, checkpoint) = Files::open::<u64>(folder.path(), "live", LIMITS, Disk::default(), now).unwrap();
    assert_eq!(checkpoint, None);
    seal_complete(&Disk::default(), folder.path(), files.number()).unwrap();
    assert_eq!(counted(folder.path()), BTreeMap::from([(0, 1)]));
}

#[tokio::test]
async fn sealing_gathers_small_frames_and_says_what_is_in_the_large_ones() {
    let folder = tempfile::tempdir().unwrap();
    let now = Micros(1_000_000_000);
    let limits = Limits { bytes: u64::MAX, ..LIMITS };
    let (mut files, _) = Files::open::<u64>(folder.path(), "live", limits, Disk::default(), now).unwrap();
    for number in 0..20_000 {
        files.append(&line_of(number), now);
        if number % 50 == 0 {
            files.flush().unwrap();
        }
    }
    files.flush().unwrap();
    files.sync().unwrap();
    files.commit(&20_000_u64, now).unwrap();
    let before = std::fs::metadata(folder.path().join(open_segments(folder.path()).unwrap()[0].open_path())).unwrap().len();
    files.rotate::<u64>(now, true).unwrap();
    seal_complete(&Disk::default(), folder.path(), files.number()).unwrap();
    let [closed] = &closed_segments(folder.path()).unwrap()[..] else { panic!("not one segment") };
    assert!(std::fs::metadata(folder.path().join(closed.path())).unwrap().len() < before / 2);
    assert_eq!((closed.first, closed.last), (Micros(0), Micros::from_secs(19_999)));

    let store = dify_observe_core::store::Folder::new(folder.path().to_owned());
    let index = index::Index::read(&store, &closed.index_path(), None).await.unwrap();
    assert!((2..=4).contains(&index.frames.len()), "{} frames", index.frames.len());
    assert_eq!(index.frames.iter().map(|frame| frame.lines).sum::<u32>(), 20_000);
    assert_eq!(counted(folder.path()).len(), 20_000);
}
