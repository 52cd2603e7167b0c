//! What the queue knows, by name, in the order of the paths' parts.
//!
//! There is an entry for every file, and every walk asks for each of them. Paths of the standard library are taken apart anew for
//! every comparison; those here are plain already (no `.`, no empty part), so that their bytes tell.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt;

use super::Name;
use super::entry::Entry;

/// The entries.
#[derive(Default)]
pub(super) struct Files(BTreeMap<Place, Entry>);

impl Files {
    /// All at once, whatever their order; of two of one name the latter counts.
    pub(super) fn of(entries: Vec<(Name, Entry)>) -> Self {
        // Numbers are sorted in place of entries, which are large: the map then finds them in order, and is built in one go.
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by(|a, b| compare(&entries[*a].0, &entries[*b].0));
        let mut entries: Vec<_> = entries.into_iter().map(Some).collect();
        let in_order = order.into_iter().filter_map(|at| entries[at].take());
        Self(in_order.map(|(name, entry)| (Place(name), entry)).collect())
    }

    pub(super) fn get(&self, name: &Name) -> Option<&Entry> {
        self.0.get(name as &dyn Named)
    }

    pub(super) fn get_mut(&mut self, name: &Name) -> Option<&mut Entry> {
        self.0.get_mut(name as &dyn Named)
    }

    /// The entry of this name, which is made if it is not there.
    pub(super) fn entry(&mut self, name: &Name) -> &mut Entry {
        // A copy of the name costs less than to look for it twice.
        self.0.entry(Place(name.clone())).or_default()
    }

    pub(super) fn remove(&mut self, name: &Name) {
        self.0.remove(name as &dyn Named);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Name, &Entry)> {
        self.0.iter().map(|(place, entry)| (&place.0, entry))
    }

    /// From `start` on. What lies below a folder comes right behind it.
    pub(super) fn starting_at(
        &mut self,
        start: &Name,
    ) -> impl Iterator<Item = (&Name, &mut Entry)> {
        let from = (Bound::Included(start as &dyn Named), Bound::Unbounded);
        let entries = self.0.range_mut::<dyn Named, _>(from);
        entries.map(|(place, entry)| (&place.0, entry))
    }
}

/// A name with the order of its parts.
struct Place(Name);

/// A name, borrowed from either.
trait Named {
    fn name(&self) -> &Name;
}

impl Named for Name {
    fn name(&self) -> &Name {
        self
    }
}

impl Named for Place {
    fn name(&self) -> &Name {
        &self.0
    }
}

impl<'a> Borrow<dyn Named + 'a> for Place {
    fn borrow(&self) -> &(dyn Named + 'a) {
        self
    }
}

impl Ord for dyn Named + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(self.name(), other.name())
    }
}

impl PartialOrd for dyn Named + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn Named + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for dyn Named + '_ {}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Place {}

/// Roots first; then as the paths' parts are ordered: what ends a part comes before all that could go on with it.
fn compare((root, path): &Name, (other_root, other): &Name) -> Ordering {
    let (path, other) = (path.as_os_str().as_bytes(), other.as_os_str().as_bytes());
    let rank = |byte: u8| if byte == b'/' { 0 } else { byte };
    // Neighbours begin alike: eight bytes at a time until they do not.
    let eights = path.as_chunks::<8>().0.iter();
    let alike = 8 * eights
        .zip(other.as_chunks::<8>().0)
        .take_while(|(a, b)| a == b)
        .count();
    let (path, other) = (&path[alike..], &other[alike..]);
    root.cmp(other_root)
        .then_with(|| match path.iter().zip(other).find(|(a, b)| a != b) {
            Some((a, b)) => rank(*a).cmp(&rank(*b)),
            None => path.len().cmp(&other.len()),
        })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;

    fn names() -> impl Strategy<Value = Vec<Name>> {
        // Letters on both sides of the separator, and bytes that are no text; some longer than what is compared at a time.
        let part = prop::collection::vec(prop::sample::select(b"!-0a\xff".to_vec()), 1..3);
        let long = prop::sample::select(vec![b"aaaaaaaa".to_vec(), b"aaaaaaa-aaaa".to_vec()]);
        let path = prop::collection::vec(prop_oneof![4 => part, 1 => long], 0..4)
            .prop_map(|parts| PathBuf::from(OsString::from_vec(parts.join(&b'/'))));
        prop::collection::vec((0usize..2, path), 0..40)
    }

    proptest! {
        #[test]
        fn names_are_ordered_as_paths_are_and_found_again(names in names(), asked in names()) {
            let sized = |(size, name): (u64, Name)| (name, Entry { size, ..Entry::default() });
            let entries = || (0..).zip(names.clone());
            let mut files = Files::of(entries().map(sized).collect());
            let mut oracle: BTreeMap<Name, u64> = entries().map(|(size, name)| (name, size)).collect();
            for name in asked {
                prop_assert_eq!(files.get_mut(&name).map(|entry| entry.size), oracle.get(&name).copied());
                let later: Vec<Name> = files.starting_at(&name).map(|(name, _)| name.clone()).collect();
                let expected: Vec<Name> = oracle.range(&name..).map(|(name, _)| name.clone()).collect();
                prop_assert_eq!(later, expected);
                if name.0 == 0 {
                    files.entry(&name).size += 100;
                    *oracle.entry(name).or_default() += 100;
                } else {
                    files.remove(&name);
                    oracle.remove(&name);
                }
            }
            let all: Vec<(Name, u64)> = files.iter().map(|(name, entry)| (name.clone(), entry.size)).collect();
            prop_assert_eq!(all, oracle.into_iter().collect::<Vec<_>>());
        }
    }
}
