//! The cache of compiled code: it gives back what it was given, and nothing that it cannot trust.

#![cfg(unix)]

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, SystemTime};

use engine_core::cache::{CodeCache, CodeKey};
use tempfile::TempDir;

fn cache(folder: &TempDir) -> CodeCache {
    CodeCache::open(folder.path().join("code")).expect("a cache")
}

fn key(code: &[u8]) -> CodeKey {
    CodeKey::new("engine", "1.0", code)
}

fn entries(cache: &CodeCache) -> Vec<PathBuf> {
    let files = fs::read_dir(cache.folder()).expect("a folder");
    let paths = files.map(|file| file.expect("a file").path());
    paths.filter(|path| path.extension().is_some()).collect()
}

fn keep(cache: &CodeCache, code: &[u8], content: &[u8]) {
    #[allow(unsafe_code, reason = "what is put is run elsewhere")]
    // SAFETY: no engine is here that would run it.
    unsafe {
        cache.put(&key(code), content);
    }
}

/// Puts content under a key and gives the file that it is in.
fn put(cache: &CodeCache, code: &[u8], content: &[u8]) -> PathBuf {
    let before = entries(cache);
    keep(cache, code, content);
    let after = entries(cache);
    let mut new = after.into_iter().filter(|path| !before.contains(path));
    new.next().expect("a new entry")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("a file");
}

#[test]
fn what_was_put_is_found_by_this_process_and_the_next() {
    let folder = TempDir::new().unwrap();
    let first = cache(&folder);
    assert_eq!(first.get(&key(b"a")), None);
    keep(&first, b"a", b"compiled");
    assert_eq!(first.get(&key(b"a")).unwrap(), b"compiled");
    assert_eq!(cache(&folder).get(&key(b"a")).unwrap(), b"compiled");
    keep(&first, b"a", b"again");
    assert_eq!(first.get(&key(b"a")).unwrap(), b"again");
}

#[test]
fn openings_at_the_same_time_have_one_secret_and_leave_no_draft() {
    for _ in 0..100 {
        let folder = TempDir::new().unwrap();
        let start = Barrier::new(8);
        let open = || {
            start.wait();
            cache(&folder)
        };
        let caches: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(entries(&caches[0]).is_empty());
        keep(&caches[0], b"a", b"compiled");
        assert!(caches.iter().all(|cache| cache.get(&key(b"a")).is_some()));
    }
}

#[test]
fn engine_settings_and_code_tell_entries_apart() {
    let keys = [
        CodeKey::new("engine", "1.0", b"a"),
        CodeKey::new("engine", "1.0", b"b"),
        CodeKey::new("engine", "1.1", b"a"),
        CodeKey::new("engin", "e1.0", b"a"),
        CodeKey::new("engine", "1.0a", b""),
    ];
    for (i, key) in keys.iter().enumerate() {
        assert!(!keys[..i].contains(key), "{i}");
    }
}

#[test]
fn a_damaged_entry_is_not_found_wherever_the_damage_is() {
    let folder = TempDir::new().unwrap();
    let cache = cache(&folder);
    let path = put(&cache, b"a", b"compiled");
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(&path, damaged).unwrap();
        assert_eq!(cache.get(&key(b"a")), None, "byte {at}");
        fs::write(&path, &whole[..at]).unwrap();
        assert_eq!(cache.get(&key(b"a")), None, "cut at {at}");
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(cache.get(&key(b"a")).unwrap(), b"compiled");
}

#[test]
fn an_entry_of_another_folder_or_under_another_name_is_foreign() {
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let caches = folders.each_ref().map(cache);
    let [theirs, ours] = caches.each_ref().map(|cache| put(cache, b"a", b"compiled"));
    let other = put(&caches[1], b"b", b"other");
    for foreign in [theirs, other] {
        fs::copy(foreign, &ours).unwrap();
        assert_eq!(caches[1].get(&key(b"a")), None);
    }
}

#[test]
fn a_file_that_others_may_change_or_that_is_a_link_is_not_read() {
    let folder = TempDir::new().unwrap();
    let cache = cache(&folder);
    let path = put(&cache, b"a", b"compiled");
    assert_eq!(mode(&path), 0o600);
    set_mode(&path, 0o620);
    assert_eq!(cache.get(&key(b"a")), None);
    set_mode(&path, 0o600);
    assert!(cache.get(&key(b"a")).is_some());
    let elsewhere = folder.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    assert_eq!(cache.get(&key(b"a")), None);
}

#[test]
fn a_folder_is_made_for_this_user_alone_and_refused_where_others_may_use_it() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("new/code");
    CodeCache::open(&path).unwrap();
    assert_eq!(mode(&path), 0o700);
    set_mode(&path, 0o750);
    let refused = CodeCache::open(&path).unwrap_err().to_string();
    assert!(
        refused.contains("others may read or change it"),
        "{refused}"
    );
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let link = folder.path().join("link");
    symlink(folder.path(), &link).unwrap();
    assert!(CodeCache::open(&file).is_err());
    assert!(CodeCache::open(&link).is_err());
}

#[test]
fn a_secret_of_another_length_or_open_to_others_is_refused() {
    let folder = TempDir::new().unwrap();
    let cache = cache(&folder);
    let secret = cache.folder().join("secret");
    set_mode(&secret, 0o644);
    assert!(CodeCache::open(cache.folder()).is_err());
    set_mode(&secret, 0o600);
    assert!(CodeCache::open(cache.folder()).is_ok());
    fs::write(&secret, "short").unwrap();
    assert!(CodeCache::open(cache.folder()).is_err());
}

#[test]
fn beyond_its_capacity_the_least_recently_used_entry_goes() {
    let folder = TempDir::new().unwrap();
    let cache = cache(&folder).with_capacity(250);
    for (code, seconds) in [(b"a", 100), (b"b", 50)] {
        let used = SystemTime::now() - Duration::from_secs(seconds);
        let file = File::open(put(&cache, code, &[0; 68])).unwrap();
        file.set_modified(used).unwrap();
    }
    assert!(
        cache.get(&key(b"a")).is_some(),
        "which makes it the last one used"
    );
    keep(&cache, b"c", &[0; 68]);
    assert!(cache.get(&key(b"b")).is_none());
    assert!(cache.get(&key(b"a")).is_some() && cache.get(&key(b"c")).is_some());
}
