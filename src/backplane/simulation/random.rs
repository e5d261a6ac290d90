//! Numbers that depend on a seed and on nothing else (splitmix64).

pub(super) struct Random(pub(super) u64);

impl Random {
    /// A number from 0 to `most`.
    pub(super) fn up_to(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % (most + 1)
    }

    pub(super) fn one_in(&mut self, many: u64) -> bool {
        self.up_to(many - 1) == 0
    }
}
