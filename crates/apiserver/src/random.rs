//! Seeded randomness: uids and generated names are the same in every run with the same seed.

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use sha2::{Digest as _, Sha256};
use std::sync::atomic::{AtomicU64, Ordering};

/// The letters of generated names: no vowels, so that no words appear.
const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// The server's random numbers.
#[derive(Debug)]
pub(crate) struct Random {
    rng: Mutex<StdRng>,
    requests: AtomicU64,
    seed: u64,
}

impl Random {
    /// Numbers that depend on `seed` alone.
    pub(crate) fn new(seed: u64) -> Self {
        let rng = Mutex::new(StdRng::seed_from_u64(seed));
        Self {
            rng,
            requests: AtomicU64::new(0),
            seed,
        }
    }

    /// A version 4 UUID.
    pub(crate) fn uid(&self) -> String {
        let mut bytes = [0; 16];
        self.rng.lock().fill_bytes(&mut bytes);
        uuid(u128::from_be_bytes(bytes))
    }

    /// A UUID for the one object of this name; takes nothing from the stream of the others.
    pub(crate) fn uid_of(&self, name: &str) -> String {
        let digest = Sha256::new()
            .chain_update(self.seed.to_be_bytes())
            .chain_update(name)
            .finalize();
        let bits = digest.iter().take(16);
        uuid(bits.fold(0, |bits, byte| bits << 8 | u128::from(*byte)))
    }

    /// A UUID for a request. Does not touch the stream that objects draw from.
    pub(crate) fn audit_id(&self) -> String {
        let count = self.requests.fetch_add(1, Ordering::Relaxed);
        uuid(u128::from(count) | u128::from(self.seed) << 64)
    }

    /// Five letters for the end of a generated name.
    pub(crate) fn suffix(&self) -> String {
        let mut rng = self.rng.lock();
        (0..5)
            .filter_map(|_| LETTERS.get(rng.random_range(0..LETTERS.len())))
            .map(|&letter| char::from(letter))
            .collect()
    }

    /// A number below `end`.
    pub(crate) fn below(&self, end: u32) -> u32 {
        self.rng.lock().random_range(0..end.max(1))
    }
}

fn uuid(bits: u128) -> String {
    let bits = bits & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    let mut out = String::with_capacity(36);
    for (index, digit) in hex.chars().enumerate() {
        if matches!(index, 8 | 12 | 16 | 20) {
            out.push('-');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_uids_and_names() {
        let (a, b) = (Random::new(7), Random::new(7));
        assert_eq!(a.uid(), b.uid());
        assert_eq!(a.suffix(), b.suffix());
        let uid = a.uid();
        assert_eq!(uid.len(), 36);
        assert_eq!(uid.chars().nth(14), Some('4'));
    }
}
