//! Chance that can be had again: everything comes from a seed.

/// SplitMix64: small, and the same in every release of every library.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Thrown as `seed` says.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 to `sides` - 1.
    pub const fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % if sides == 0 { 1 } else { sides }
    }

    /// Bytes that don't compress.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| u8::try_from(self.throw(256)).unwrap_or_default()).collect()
    }

    /// One of them.
    ///
    /// # Panics
    /// When there is none.
    pub fn choose<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[usize::try_from(self.throw(from.len() as u64)).unwrap()]
    }
}
