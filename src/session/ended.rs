//! The sessions that were ended before their ids expire, remembered over a restart.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::ticket::LIFE_S;
use crate::files::{self, Stamp};
use crate::order;
use crate::worker::lock;

/// The ended sessions. Whatever is forgotten, for want of room or because the file was lost, takes
/// every older session with it: an id that was ended never lives again.
#[derive(Debug)]
pub struct EndedIds {
    /// `None`: they are forgotten with the process, as are the ids.
    path: Option<PathBuf>,
    sessions_max: usize,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    list: List,
    stamp: Option<Stamp>,
    looked_at_s: u64,
    unreadable: bool,
}

impl EndedIds {
    /// Reads the file; none yet is an empty list. A broken or unreadable one ends every session
    /// from before `now_s`, in seconds since 1970. `sessions_max` is `ended_sessions_max`.
    #[must_use]
    pub fn open(path: Option<PathBuf>, sessions_max: usize, now_s: u64) -> Self {
        let ended = Self { path, sessions_max, known: Mutex::default() };
        let Some(path) = &ended.path else { return ended };
        let stamp = Stamp::of(path);
        let (list, lost) = match read(path) {
            Ok(list) => (list, false),
            Err(error) => {
                warn_of_loss(path, &error);
                (List { not_before_s: now_s.saturating_add(1), ..List::default() }, true)
            }
        };
        *lock(&ended.known) = Known { list, stamp, looked_at_s: now_s, unreadable: false };
        if lost {
            // Else the next start would end every session again.
            ended.persist(path, now_s);
        }
        ended
    }

    /// Whether a session was ended, here or by another program with the same state folder (seen
    /// within a second).
    #[must_use]
    pub fn contains(&self, nonce: [u8; 16], issued_s: u64, now_s: u64) -> bool {
        self.look(now_s);
        lock(&self.known).list.contains(nonce, issued_s)
    }

    /// Sessions from before this second are ended, all of them.
    #[must_use]
    pub fn not_before_s(&self) -> u64 {
        lock(&self.known).list.not_before_s
    }

    /// Ends a session for good. Where the file cannot be written, that is logged and holds for this
    /// process.
    pub fn end(&self, nonce: [u8; 16], issued_s: u64, now_s: u64) {
        {
            let list = &mut lock(&self.known).list;
            if list.contains(nonce, issued_s) {
                return;
            }
            list.issued_s.insert(u128::from_be_bytes(nonce), issued_s);
            list.prune(self.sessions_max, now_s);
        }
        if let Some(path) = &self.path {
            self.persist(path, now_s);
        }
    }

    /// Takes up what another program wrote, at most once a second.
    fn look(&self, now_s: u64) {
        let Some(path) = &self.path else { return };
        let seen = {
            let mut known = lock(&self.known);
            if known.looked_at_s == now_s {
                return;
            }
            // Claimed before looking, so that one caller looks while the others go on.
            known.looked_at_s = now_s;
            known.stamp
        };
        let stamp = Stamp::of(path);
        if stamp == seen {
            return;
        }
        let taken_up = self.take_up(path, stamp, now_s);
        let failed_before = std::mem::replace(&mut lock(&self.known).unreadable, taken_up.is_err());
        if let (Err(error), false) = (taken_up, failed_before) {
            let path = path.display();
            log::warn!("sessions that others ended are not seen: {path}: {error}");
        }
    }

    /// Errors: the file cannot be read. It may be for want of descriptors, so the stamp stays old
    /// and the next look tries again.
    fn take_up(&self, path: &Path, stamp: Option<Stamp>, now_s: u64) -> io::Result<()> {
        let list = match read(path) {
            Ok(list) => list,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                warn_of_loss(path, &error);
                List { not_before_s: now_s.saturating_add(1), ..List::default() }
            }
            Err(error) => return Err(error),
        };
        let mut known = lock(&self.known);
        known.stamp = stamp;
        known.list.merge(list, self.sessions_max, now_s);
        Ok(())
    }

    /// Writes what is known here and there. The lock on the folder keeps two programs, and two
    /// threads, from losing each other's lines.
    fn persist(&self, path: &Path, now_s: u64) {
        let folder = path.parent().unwrap_or(Path::new("."));
        let written = files::lock_folder(folder).and_then(|_lock| {
            let stamp = Stamp::of(path);
            if stamp != lock(&self.known).stamp {
                // Unread lines must not be written over.
                self.take_up(path, stamp, now_s)?;
            }
            let text = lock(&self.known).list.to_text();
            files::replace(path, text.as_bytes(), files::PRIVATE)?;
            lock(&self.known).stamp = Stamp::of(path);
            Ok(())
        });
        if let Err(error) = written {
            let path = path.display();
            log::warn!("sessions ended now may live again after a restart: {path}: {error}");
        }
    }
}

#[derive(Debug, Default)]
struct List {
    /// When each session began, by its nonce.
    issued_s: HashMap<u128, u64>,
    not_before_s: u64,
}

impl List {
    fn contains(&self, nonce: [u8; 16], issued_s: u64) -> bool {
        issued_s < self.not_before_s || self.issued_s.contains_key(&u128::from_be_bytes(nonce))
    }

    fn merge(&mut self, other: Self, sessions_max: usize, now_s: u64) {
        self.issued_s.extend(other.issued_s);
        self.raise(other.not_before_s);
        self.prune(sessions_max, now_s);
    }

    fn raise(&mut self, not_before_s: u64) {
        self.not_before_s = self.not_before_s.max(not_before_s);
        self.issued_s.retain(|_, issued_s| *issued_s >= self.not_before_s);
    }

    /// Drops what has expired, then, when there are too many, the older half. Either raises
    /// `not_before_s`, so that a clock set back brings no session to life.
    fn prune(&mut self, sessions_max: usize, now_s: u64) {
        let expired = |issued_s: &u64| issued_s.saturating_add(LIFE_S) <= now_s;
        if let Some(newest) = self.issued_s.values().copied().filter(expired).max() {
            self.raise(newest.saturating_add(1));
        }
        if self.issued_s.len() > sessions_max {
            let newest_first: Vec<u64> = self.issued_s.values().copied().collect();
            let newest_first = order::by(newest_first, |one, other| other.cmp(one));
            if let Some(newest_dropped) = newest_first.get(sessions_max / 2) {
                self.raise(newest_dropped.saturating_add(1));
            }
        }
    }

    fn to_text(&self) -> String {
        let mut text = match self.not_before_s {
            0 => String::new(),
            second => format!("{NOT_BEFORE} {second}\n"),
        };
        for (nonce, issued_s) in &self.issued_s {
            text.push_str(&format!("{nonce:032x} {issued_s}\n"));
        }
        text
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut list = Self::default();
        // What ends within a line has lost some.
        for (at, line) in text.strip_suffix('\n')?.split('\n').enumerate() {
            let (name, second) = line.split_once(' ')?;
            let second = second.parse().ok()?;
            if name == NOT_BEFORE && at == 0 {
                list.not_before_s = second;
                continue;
            }
            if name.len() != 32 || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return None;
            }
            list.issued_s.insert(u128::from_str_radix(name, 16).ok()?, second);
        }
        Some(list)
    }
}

/// Errors: `InvalidData` when it is not understood, else the system's.
fn read(path: &Path) -> io::Result<List> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(List::default()),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    List::from_text(&text).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "it is no list of ended sessions")
    })
}

fn warn_of_loss(path: &Path, error: &io::Error) {
    let path = path.display();
    log::warn!("clients have to open new sessions, for {path} cannot be used: {error}");
}

const NOT_BEFORE: &str = "not_before";
/// Far more than any limit of sessions makes; a longer file is cut, and so not understood.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NOW: u64 = 1_800_000_000;
    const MAX: usize = 8;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("ended-{name}-{}", std::process::id()));
            drop(fs::remove_dir_all(&path));
            files::make_private_folder(&path).unwrap();
            Self(path)
        }

        fn file(&self) -> PathBuf {
            self.0.join("ended-sessions")
        }

        fn open(&self, now_s: u64) -> EndedIds {
            EndedIds::open(Some(self.file()), MAX, now_s)
        }

        fn text(&self) -> String {
            fs::read_to_string(self.file()).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn an_ended_session_stays_ended_after_a_restart() {
        let folder = Folder::new("restart");
        let ended = folder.open(NOW);
        assert!(!ended.contains([1; 16], NOW - 5, NOW));
        assert!(!folder.file().exists());
        ended.end([1; 16], NOW - 5, NOW);
        ended.end([0; 16], NOW - 4, NOW);
        ended.end([0; 16], NOW - 4, NOW);
        let mode = fs::metadata(folder.file()).unwrap().permissions().mode();
        assert_eq!((mode & 0o777, folder.text().lines().count()), (0o600, 2));
        let again = folder.open(NOW + 1);
        for ended in [ended, again] {
            assert!(ended.contains([1; 16], NOW - 5, NOW + 1));
            assert!(ended.contains([0; 16], NOW - 4, NOW + 1));
            assert!(!ended.contains([2; 16], NOW - 5, NOW + 1));
            assert_eq!(ended.not_before_s(), 0);
        }
    }

    #[test]
    fn without_a_state_folder_it_holds_for_the_process() {
        let ended = EndedIds::open(None, MAX, NOW);
        ended.end([1; 16], NOW, NOW);
        assert!(ended.contains([1; 16], NOW, NOW + 1) && !ended.contains([2; 16], NOW, NOW + 1));
    }

    #[test]
    fn two_programs_with_one_folder_see_and_keep_what_the_other_ended() {
        let folder = Folder::new("two");
        let (one, two) = (folder.open(NOW), folder.open(NOW));
        one.end([1; 16], NOW, NOW);
        assert!(!two.contains([1; 16], NOW, NOW), "looked at no more than once a second");
        assert!(two.contains([1; 16], NOW, NOW + 1));
        one.end([2; 16], NOW, NOW + 1);
        // Not seen yet by the second, and yet not lost.
        two.end([3; 16], NOW, NOW + 1);
        assert_eq!(folder.text().lines().count(), 3);
        assert!(two.contains([2; 16], NOW, NOW + 1) && one.contains([3; 16], NOW, NOW + 2));
        fs::remove_file(folder.file()).unwrap();
        assert!(one.contains([3; 16], NOW, NOW + 3));
    }

    #[test]
    fn ends_at_once_lose_none() {
        let folder = Folder::new("threads");
        let programs = [(); 2].map(|()| EndedIds::open(Some(folder.file()), 64, NOW));
        std::thread::scope(|scope| {
            for thread in 0..8_u8 {
                let program = &programs[usize::from(thread % 2)];
                scope.spawn(move || {
                    (0..4).for_each(|number| program.end([thread * 4 + number; 16], NOW, NOW));
                });
            }
        });
        assert_eq!(folder.text().lines().count(), 32);
        let restarted = EndedIds::open(Some(folder.file()), 64, NOW);
        assert!((0..32).all(|number| restarted.contains([number; 16], NOW, NOW)));
    }

    #[test]
    fn a_full_list_drops_its_older_half_and_ends_every_session_as_old() {
        let folder = Folder::new("full");
        let ended = folder.open(NOW);
        for number in 0..9_u8 {
            ended.end([number; 16], NOW + u64::from(number), NOW + 20);
        }
        // Four of nine stay.
        assert_eq!(ended.not_before_s(), NOW + 5);
        assert_eq!(folder.text().lines().count(), 5);
        assert!(folder.text().starts_with(&format!("not_before {}\n", NOW + 5)));
        for ended in [ended, folder.open(NOW + 20)] {
            for number in 0..9_u8 {
                assert!(ended.contains([number; 16], NOW + u64::from(number), NOW + 20));
            }
            assert!(ended.contains([99; 16], NOW + 4, NOW + 20), "one that was never ended");
            assert!(!ended.contains([99; 16], NOW + 5, NOW + 20));
        }
    }

    #[test]
    fn a_full_list_of_one_second_ends_that_second() {
        let ended = EndedIds::open(None, MAX, NOW);
        (0..9).for_each(|number| ended.end([number; 16], NOW, NOW));
        assert_eq!(ended.not_before_s(), NOW + 1);
        assert!(lock(&ended.known).list.issued_s.is_empty());
    }

    #[test]
    fn what_has_expired_is_dropped_first_and_no_clock_set_back_revives_it() {
        let ended = EndedIds::open(None, MAX, NOW);
        for number in 0..5_u8 {
            ended.end([number; 16], NOW, NOW);
        }
        let later = NOW + LIFE_S;
        for number in 5..12_u8 {
            ended.end([number; 16], later, later);
        }
        assert_eq!(lock(&ended.known).list.issued_s.len(), 7);
        assert_eq!(ended.not_before_s(), NOW + 1);
        assert!(ended.contains([0; 16], NOW, NOW));
    }

    #[test]
    fn a_broken_file_ends_every_session_from_before_once() {
        let line = "0123456789abcdef0123456789abcdef 1800000000";
        for broken in [
            "",
            "\n",
            "x\n",
            line,
            &format!("{line}\n\n"),
            &format!("{line}x\n"),
            &format!("0{line}\n"),
            &format!("{line}\nnot_before 5\n"),
            "not_before\n",
            "not_before x\n",
            "+123456789abcdef0123456789abcdef 1800000000\n",
        ] {
            let folder = Folder::new("broken");
            fs::write(folder.file(), broken).unwrap();
            let ended = folder.open(NOW);
            assert!(ended.contains([1; 16], NOW, NOW), "{broken:?}");
            assert!(!ended.contains([1; 16], NOW + 1, NOW), "{broken:?}");
            assert_eq!(folder.open(NOW + 100).not_before_s(), NOW + 1, "{broken:?}");
        }
    }

    #[test]
    fn a_file_that_breaks_while_it_is_used_ends_every_session_and_is_mended_by_the_next_end() {
        let folder = Folder::new("breaks");
        let ended = folder.open(NOW);
        ended.end([1; 16], NOW, NOW);
        fs::write(folder.file(), b"\xff\n").unwrap();
        assert!(ended.contains([2; 16], NOW + 1, NOW + 1));
        assert!(!ended.contains([2; 16], NOW + 2, NOW + 1));
        ended.end([3; 16], NOW + 2, NOW + 2);
        let restarted = folder.open(NOW + 3);
        assert!(restarted.contains([2; 16], NOW + 1, NOW + 3));
        assert!(restarted.contains([3; 16], NOW + 2, NOW + 3));
        assert_eq!(restarted.not_before_s(), NOW + 2);
    }

    #[test]
    fn a_file_that_cannot_be_read_or_written_closes_at_the_start_and_holds_in_memory() {
        let folder = Folder::new("folder");
        // A folder in its place: nobody, root included, reads or replaces it as a file.
        fs::create_dir(folder.file()).unwrap();
        let ended = folder.open(NOW);
        assert!(ended.contains([1; 16], NOW, NOW));
        ended.end([1; 16], NOW + 1, NOW + 1);
        assert!(ended.contains([1; 16], NOW + 1, NOW + 2));
        assert!(!ended.contains([2; 16], NOW + 1, NOW + 3));
        fs::remove_dir(folder.file()).unwrap();
        ended.end([2; 16], NOW + 1, NOW + 4);
        let restarted = folder.open(NOW + 5);
        assert!(restarted.contains([1; 16], NOW + 1, NOW + 5));
        assert!(restarted.contains([2; 16], NOW + 1, NOW + 5));
    }

    #[test]
    fn what_another_ended_and_cannot_be_read_is_not_written_over() {
        let folder = Folder::new("unread");
        let (one, two) = (folder.open(NOW), folder.open(NOW));
        one.end([1; 16], NOW, NOW);
        let aside = folder.0.join("aside");
        fs::rename(folder.file(), &aside).unwrap();
        // A link to itself opens for nobody.
        std::os::unix::fs::symlink(folder.file(), folder.file()).unwrap();
        lock(&two.known).stamp = Stamp::of(&aside);
        two.end([2; 16], NOW, NOW);
        assert!(folder.file().is_symlink());
        assert!(two.contains([2; 16], NOW, NOW + 1) && !two.contains([1; 16], NOW, NOW + 1));
        fs::rename(&aside, folder.file()).unwrap();
        two.end([3; 16], NOW, NOW + 2);
        let restarted = folder.open(NOW + 3);
        assert!((1..4).all(|number| restarted.contains([number; 16], NOW, NOW + 3)));
    }
}
