//! Names of storages and functions that were resolved once.

/// Known names, with what the host calls them.
#[derive(Debug)]
pub struct Names<T>(Vec<(Box<str>, T)>);

/// How many names stand in the order in which they came; those behind them move up when they are found.
const FRONT: usize = 8;

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Names<T> {
    /// No name yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy> Names<T> {
    /// What stands for a name. The host is asked for one that is not known, each time until it knows it.
    #[inline]
    pub fn find(&mut self, name: &str, ask: impl FnOnce() -> Option<T>) -> Option<T> {
        let mut known = self.0.iter().enumerate();
        if let Some((at, &(_, found))) = known.find(|(_, (known, _))| is_same(known, name)) {
            if at >= FRONT {
                self.0.swap(at - 1, at);
            }
            return Some(found);
        }
        let found = ask()?;
        self.0.push((name.into(), found));
        Some(found)
    }
}

/// Whether two names are the same. Most are short, and are compared as two numbers that overlap: else the compiler calls a
/// function that goes from byte to byte.
#[inline]
fn is_same(name: &str, other: &str) -> bool {
    fn ends<const N: usize>(name: &[u8], other: &[u8]) -> bool {
        name.first_chunk::<N>() == other.first_chunk()
            && name.last_chunk::<N>() == other.last_chunk()
    }
    let (name, other) = (name.as_bytes(), other.as_bytes());
    name.len() == other.len()
        && match name.len() {
            4..8 => ends::<4>(name, other),
            8..=16 => ends::<8>(name, other),
            _ => name == other,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_asked_for_a_name_until_it_knows_it() {
        let mut names = Names::new();
        assert_eq!(names.find("later", || None), None);
        assert_eq!(names.find("later", || Some(1)), Some(1));
        assert_eq!(names.find("later", || unreachable!("it is known")), Some(1));
    }

    #[test]
    fn names_of_every_length_are_told_apart_in_whatever_order_they_come() {
        let all: Vec<String> = (0..40).map(|len| "n".repeat(len)).collect();
        let other = |name: &str| name.replacen('n', "m", 1);
        let mut names = Names::new();
        for (number, name) in all.iter().enumerate() {
            assert_eq!(names.find(name, || Some(number)), Some(number));
        }
        for _ in 0..3 {
            for (number, name) in all.iter().enumerate().rev() {
                assert_eq!(names.find(name, || None), Some(number));
                if !name.is_empty() {
                    assert_eq!(names.find(&other(name), || None), None);
                }
            }
        }
    }
}
