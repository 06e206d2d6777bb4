//! The numbers of `math.random`: the same for the same invocation, wherever it runs.

/// xoshiro256++ by Blackman and Vigna.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random([u64; 4]);

impl Random {
    /// Starts from the random bytes of the invocation.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let mut state = [0; 4];
        for (word, bytes) in state.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = bytes
                .iter()
                .fold(0, |word, byte| word << 8 | u64::from(*byte));
        }
        // All zeros is the one state that never moves on.
        state[3] |= u64::from(state == [0; 4]);
        Self(state)
    }

    /// Starts from a number, spread by SplitMix64.
    pub(crate) fn from_seed(seed: f64) -> Self {
        let mut z = seed.to_bits();
        Self([(); 4].map(|()| {
            z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        }))
    }

    fn next(&mut self) -> u64 {
        let [a, b, c, d] = self.0;
        let next = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        let (b, a) = (b ^ c, a ^ d);
        self.0 = [a, b, c ^ (self.0[1] << 17), d.rotate_left(45)];
        next
    }

    /// From 0 to 1, without 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// From `low` to `high`, both included; `low` is not above `high`.
    pub(crate) fn within(&mut self, low: i64, high: i64) -> i64 {
        let span = i128::from(high) - i128::from(low) + 1;
        let step = (i128::from(self.next()) * span) >> 64;
        (i128::from(low) + step) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_published_generator() {
        let mut bytes = [0; 32];
        for (word, bytes) in [1u64, 2, 3, 4].iter().zip(bytes.chunks_exact_mut(8)) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        let mut random = Random::from_bytes(&bytes);
        // The first numbers from the state 1, 2, 3, 4, as the reference implementation prints them.
        let expected = [
            41_943_041,
            58_720_359,
            3_588_806_011_781_223,
            3_591_011_842_654_386,
        ];
        assert_eq!(expected.map(|_| random.next()), expected);
    }

    #[test]
    fn every_number_of_a_range_comes_and_no_other() {
        let mut random = Random::from_seed(1.0);
        let drawn: std::collections::BTreeSet<_> =
            (0..1000).map(|_| random.within(-2, 2)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [-2, -1, 0, 1, 2]);
        assert!((0..1000).all(|_| (0.0..1.0).contains(&random.unit())));
    }
}
