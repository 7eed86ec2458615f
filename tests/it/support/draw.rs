//! Numbers drawn by a seed, which a failure tells.

/// Random enough to draw by, and the same for the same seed.
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new() -> Self {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).unwrap();
        Self::seeded(u64::from_le_bytes(seed))
    }

    pub(crate) const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// What draws the same from here on.
    pub(crate) const fn seed(&self) -> u64 {
        self.0
    }

    /// A number below `most`.
    pub(crate) fn below(&mut self, most: u64) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % most).unwrap()
    }

    /// One of these.
    pub(crate) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64)]
    }
}
