//! A bounded map by id whose entries grow old.

use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use crate::dify::time::Micros;

/// Beyond its bound it forgets the entries that are due first.
#[derive(Debug)]
pub(super) struct Cache<T> {
    entries: HashMap<Uuid, Entry<T>>,
    bound: usize,
}

#[derive(Debug)]
struct Entry<T> {
    value: T,
    due: Micros,
}

impl<T> Cache<T> {
    pub(super) fn new(bound: usize) -> Self {
        Cache { entries: HashMap::new(), bound }
    }

    pub(super) fn bound(&self) -> usize {
        self.bound
    }

    /// The value, however old.
    pub(super) fn get(&self, id: Uuid) -> Option<&T> {
        Some(&self.entries.get(&id)?.value)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = Uuid> {
        self.entries.keys().copied()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.values().map(|entry| &entry.value)
    }

    /// Which of these have to be read.
    pub(super) fn missing(&self, ids: impl Iterator<Item = Uuid>, now: Micros) -> Vec<Uuid> {
        ids.filter(|id| self.entries.get(id).is_none_or(|entry| entry.due <= now)).collect()
    }

    pub(super) fn insert(&mut self, id: Uuid, value: T, now: Micros, fresh: Duration) {
        if self.entries.len() >= self.bound && !self.entries.contains_key(&id) {
            self.make_room();
        }
        self.entries.insert(id, Entry { value, due: now.plus(fresh) });
    }

    /// Forgets the eighth that is due first: now and then much instead of always a little.
    fn make_room(&mut self) {
        let mut due: Vec<Micros> = self.entries.values().map(|entry| entry.due).collect();
        let (_, last, _) = due.select_nth_unstable((self.bound / 8).min(self.entries.len().saturating_sub(1)));
        let last = *last;
        let mut left = (self.bound / 8).max(1);
        self.entries.retain(|_, entry| {
            let goes = entry.due <= last && left > 0;
            left -= usize::from(goes);
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_grow_old_and_stay_readable() {
        let mut cache = Cache::new(10);
        let id = Uuid::from_u128(1);
        assert_eq!(cache.missing([id].into_iter(), Micros(0)), [id]);
        cache.insert(id, "x", Micros(0), Duration::from_secs(1));
        assert!(cache.missing([id].into_iter(), Micros(999_999)).is_empty());
        assert_eq!(cache.missing([id].into_iter(), Micros(1_000_000)), [id]);
        assert_eq!(cache.get(id), Some(&"x"));
    }

    #[test]
    fn it_never_outgrows_its_bound_and_keeps_the_newest() {
        let mut cache = Cache::new(16);
        for number in 0..1000_u64 {
            cache.insert(Uuid::from_u128(number.into()), number, Micros(number as i64), Duration::ZERO);
            assert!(cache.entries.len() <= 16);
        }
        assert_eq!(cache.get(Uuid::from_u128(999)), Some(&999));
    }
}
