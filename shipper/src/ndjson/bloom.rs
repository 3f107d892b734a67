//! A set that may answer "perhaps" for what is not in it, in ten bits a member: about one answer in a hundred is wrong in that way.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

const BITS_PER_MEMBER: usize = 10;
const PROBES: u64 = 7;

/// The set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bloom(pub(crate) Vec<u8>);

impl Bloom {
    /// The set of these hashes.
    pub(crate) fn new(members: &HashSet<u64>) -> Bloom {
        let mut bytes = vec![0; (members.len() * BITS_PER_MEMBER).div_ceil(8)];
        let bits = bytes.len() as u64 * 8;
        for member in members {
            for bit in probes(*member, bits) {
                bytes[(bit / 8) as usize] |= 1 << (bit % 8);
            }
        }
        Bloom(bytes)
    }

    /// Whether it may be a member.
    pub(crate) fn may_hold(&self, member: u64) -> bool {
        let bits = self.0.len() as u64 * 8;
        bits > 0 && probes(member, bits).all(|bit| self.0[(bit / 8) as usize] & (1 << (bit % 8)) != 0)
    }
}

fn probes(member: u64, bits: u64) -> impl Iterator<Item = u64> {
    let (first, step) = (member >> 32, member & 0xffff_ffff | 1);
    (0..PROBES).map(move |probe| (first + probe * step) % bits)
}

/// A hash that is the same in every version and on every host: FNV-1a, mixed once more so that all its bits are good.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hash(u64);

impl Hash {
    pub(crate) const fn new(seed: u8) -> Hash {
        Hash(0xcbf2_9ce4_8422_2325).byte(seed)
    }

    const fn byte(self, byte: u8) -> Hash {
        Hash((self.0 ^ byte as u64).wrapping_mul(0x0000_0100_0000_01b3))
    }

    pub(crate) fn bytes(self, bytes: &[u8]) -> Hash {
        bytes.iter().fold(self, |hash, byte| hash.byte(*byte))
    }

    pub(crate) fn text(self, text: &str) -> Hash {
        self.bytes(text.as_bytes())
    }

    pub(crate) const fn finish(self) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        mixed ^ (mixed >> 33)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u32) -> u64 {
        Hash::new(0).bytes(&number.to_le_bytes()).finish()
    }

    #[test]
    fn members_are_found_and_few_others() {
        let bloom = Bloom::new(&(0..10_000).map(hash).collect());
        assert!((0..10_000).all(|number| bloom.may_hold(hash(number))));
        let wrong = (10_000..110_000).filter(|number| bloom.may_hold(hash(*number))).count();
        assert!(wrong < 2_000, "{wrong} of 100,000");
        assert_eq!(bloom.0.len(), 12_500);
        assert!(!Bloom::new(&HashSet::new()).may_hold(hash(1)));
    }

    #[test]
    fn a_hash_never_changes() {
        // Indexes of earlier versions hold it.
        assert_eq!(Hash::new(1).text("漢字").finish(), 12_098_160_036_846_848_006);
    }
}
