//! A disk for SQLite that fails or stops at the n-th operation, and that forgets what was not synced.
//!
//! It sits on SQLite's own file system: only open, read, write, truncate, sync, delete and close are intercepted. What
//! a crash may leave of a file is modelled in sectors, as `fsync` promises it: what was synced stays; of the sectors
//! written since then any subset; after a failed sync nothing that it should have written, because Linux marks those
//! pages clean and a later sync skips them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libsqlite3_sys as ffi;

const SECTOR: usize = 512;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The operation of this number fails with an I/O error; later ones work.
    Fail(u64),
    /// From the operation of this number on every write finds the disk full.
    Full(u64),
    /// The power goes at the operation of this number: it and all later ones fail.
    Crash(u64),
}

/// A disk under the name [`Disk::name`].
#[derive(Clone)]
pub struct Disk {
    name: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    fault: Option<Fault>,
    /// Syncs report success and do nothing: the planted defect that the checks must see.
    lying: bool,
    operations: u64,
    fired: bool,
    stopped: bool,
    files: BTreeMap<PathBuf, Sectors>,
}

#[derive(Default)]
struct Sectors {
    synced: Vec<u8>,
    dirty: BTreeSet<usize>,
}

struct OpenFile {
    state: Arc<Mutex<State>>,
    path: PathBuf,
    /// Of SQLite's own file system.
    methods: &'static ffi::sqlite3_io_methods,
}

static DISKS: Mutex<BTreeMap<usize, Arc<Mutex<State>>>> = Mutex::new(BTreeMap::new());
static FILES: Mutex<BTreeMap<usize, OpenFile>> = Mutex::new(BTreeMap::new());

fn lock<T>(cell: &Mutex<T>) -> MutexGuard<'_, T> {
    cell.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Disk {
    /// Registers a disk with SQLite, for the life of the process.
    pub fn register(name: &str) -> Self {
        // As every store does, and before SQLite is used otherwise.
        grantd_raft::memory::install().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let c_name: &'static CStr = Box::leak(CString::new(name).unwrap().into_boxed_c_str());
        // SAFETY: finds SQLite's default file system, which lives for ever; a copy of the struct with another name
        // and other open and delete functions is a file system too. It is leaked, so it lives for ever as well.
        unsafe {
            let mut vfs: ffi::sqlite3_vfs = *ffi::sqlite3_vfs_find(std::ptr::null());
            vfs.zName = c_name.as_ptr();
            vfs.pNext = std::ptr::null_mut();
            vfs.xOpen = Some(open);
            vfs.xDelete = Some(delete);
            let vfs = Box::leak(Box::new(vfs));
            lock(&DISKS).insert(std::ptr::from_mut(vfs) as usize, Arc::clone(&state));
            assert_eq!(ffi::sqlite3_vfs_register(vfs, 0), ffi::SQLITE_OK);
        }
        Self { name: name.to_owned(), state }
    }

    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// Begins to count operations anew, with a fault to come.
    pub fn arm(&self, fault: Fault) {
        let mut state = lock(&self.state);
        let lying = state.lying;
        *state = State { fault: Some(fault), lying, ..State::default() };
    }

    pub fn lie(&self) {
        lock(&self.state).lying = true;
    }

    /// Whether the fault came.
    pub fn fired(&self) -> bool {
        lock(&self.state).fired
    }

    /// Leaves of each file what a power loss might. Nothing may be open.
    pub fn lose_power(&self, seed: u64) {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut coin = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random & 1 == 0
        };
        for (path, file) in std::mem::take(&mut lock(&self.state).files) {
            let Ok(current) = fs::read(&path) else { continue };
            let mut left = file.synced;
            if current.len() != left.len() && !file.dirty.is_empty() && coin() {
                left.resize(current.len(), 0);
            }
            for sector in file.dirty {
                let (start, end) =
                    (sector * SECTOR, ((sector + 1) * SECTOR).min(left.len()).min(current.len()));
                if start < end && coin() {
                    left[start..end].copy_from_slice(&current[start..end]);
                }
            }
            fs::write(&path, &left).unwrap();
            // Shared memory does not survive a power loss.
            let mut shared = path.into_os_string();
            shared.push("-shm");
            let _ = fs::remove_file(shared);
        }
    }
}

impl State {
    /// Counts an operation; true: it fails. `writes`: whether it needs room.
    fn fails(&mut self, writes: bool) -> bool {
        self.operations += 1;
        if self.stopped {
            return true;
        }
        match self.fault {
            Some(Fault::Fail(at)) if at == self.operations => {
                self.fired = true;
                true
            }
            Some(Fault::Full(at)) if at <= self.operations && writes => {
                self.fired = true;
                true
            }
            Some(Fault::Crash(at)) if at == self.operations => {
                (self.fired, self.stopped) = (true, true);
                true
            }
            Some(Fault::None | Fault::Fail(_) | Fault::Full(_) | Fault::Crash(_)) | None => false,
        }
    }

    fn write_error(&self) -> c_int {
        if matches!(self.fault, Some(Fault::Full(_))) { ffi::SQLITE_FULL } else { ffi::SQLITE_IOERR_WRITE }
    }

    fn file(&mut self, path: &Path) -> &mut Sectors {
        let synced = || Sectors { synced: fs::read(path).unwrap_or_default(), dirty: BTreeSet::new() };
        self.files.entry(path.to_owned()).or_insert_with(synced)
    }

    fn mark(&mut self, path: &Path, start: usize, end: usize) {
        self.file(path).dirty.extend(start / SECTOR..end.div_ceil(SECTOR));
    }
}

impl Sectors {
    fn sync(&mut self, path: &Path) {
        let current = fs::read(path).unwrap_or_default();
        self.synced.resize(current.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            let (start, end) = (sector * SECTOR, ((sector + 1) * SECTOR).min(current.len()));
            if start < end {
                self.synced[start..end].copy_from_slice(&current[start..end]);
            }
        }
    }
}

/// Runs `with` on the open file; the locks are free again when SQLite's own function is called.
fn with_file<T>(
    file: *mut ffi::sqlite3_file,
    with: impl FnOnce(&mut State, &Path) -> T,
) -> (&'static ffi::sqlite3_io_methods, T) {
    let files = lock(&FILES);
    let open = files.get(&(file as usize)).expect("SQLite uses a file between open and close");
    let result = with(&mut lock(&open.state), &open.path);
    (open.methods, result)
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: called by SQLite with a file system that `register` made, a null or valid name, and room for a file.
    unsafe {
        (*file).pMethods = std::ptr::null();
        let state = Arc::clone(&lock(&DISKS)[&(vfs as usize)]);
        let path = if name.is_null() {
            PathBuf::new()
        } else {
            PathBuf::from(CStr::from_ptr(name).to_str().expect("test paths are UTF-8"))
        };
        {
            let mut state = lock(&state);
            if state.fails(false) {
                return ffi::SQLITE_CANTOPEN;
            }
            // Before SQLite makes it: what was there is what a power loss leaves.
            state.file(&path);
        }
        let system = &*ffi::sqlite3_vfs_find(std::ptr::null());
        let code = system.xOpen.expect("set")(vfs, name, file, flags, out_flags);
        if code == ffi::SQLITE_OK {
            let methods: &'static ffi::sqlite3_io_methods = &*(*file).pMethods;
            let mut ours = *methods;
            // Without memory-mapped files, which would go round `write`.
            ours.iVersion = ours.iVersion.min(2);
            ours.xClose = Some(close);
            ours.xRead = Some(read);
            ours.xWrite = Some(write);
            ours.xTruncate = Some(truncate);
            ours.xSync = Some(sync);
            // One for each distinct table of methods would do; a test run leaks a few megabytes at most.
            (*file).pMethods = Box::leak(Box::new(ours));
            lock(&FILES).insert(file as usize, OpenFile { state, path, methods });
        }
        code
    }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let open = lock(&FILES).remove(&(file as usize)).expect("opened before");
    // SAFETY: SQLite's own function on SQLite's own file.
    unsafe { open.methods.xClose.expect("set")(file) }
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    to: *mut c_void,
    count: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    let (methods, fails) = with_file(file, |state, _| state.fails(false));
    if fails {
        return ffi::SQLITE_IOERR_READ;
    }
    // SAFETY: SQLite's own function with the arguments that it was called with.
    unsafe { methods.xRead.expect("set")(file, to, count, offset) }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    from: *const c_void,
    count: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    let (methods, (error, crashed)) = with_file(file, |state, path| {
        let stopped = state.stopped;
        let error = state.fails(true).then(|| state.write_error());
        let crashed = state.stopped && !stopped;
        if error.is_none() || crashed {
            let (start, count) = (usize::try_from(offset).unwrap(), usize::try_from(count).unwrap());
            state.mark(path, start, start + count);
        }
        (error, crashed)
    });
    if let Some(error) = error
        && !crashed
    {
        return error;
    }
    // SAFETY: as above. A write that the power loss interrupts may reach any of its sectors.
    let code = unsafe { methods.xWrite.expect("set")(file, from, count, offset) };
    error.unwrap_or(code)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: ffi::sqlite3_int64) -> c_int {
    let (methods, fails) = with_file(file, |state, path| {
        let fails = state.fails(false);
        if !fails {
            let length = fs::metadata(path).map_or(0, |found| usize::try_from(found.len()).unwrap());
            state.mark(path, usize::try_from(size).unwrap().min(length), length);
        }
        fails
    });
    if fails {
        return ffi::SQLITE_IOERR_TRUNCATE;
    }
    // SAFETY: as above.
    unsafe { methods.xTruncate.expect("set")(file, size) }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    // The real disk is not asked: only what this one remembers counts.
    let (_, code) = with_file(file, |state, path| {
        if state.fails(false) {
            state.file(path).dirty.clear();
            return ffi::SQLITE_IOERR_FSYNC;
        }
        if !state.lying {
            state.file(path).sync(path);
        }
        ffi::SQLITE_OK
    });
    code
}

unsafe extern "C" fn delete(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, _sync: c_int) -> c_int {
    let state = Arc::clone(&lock(&DISKS)[&(vfs as usize)]);
    // SAFETY: SQLite passes a valid name.
    let path = PathBuf::from(unsafe { CStr::from_ptr(name) }.to_str().expect("test paths are UTF-8"));
    let mut state = lock(&state);
    if state.fails(false) {
        return ffi::SQLITE_IOERR_DELETE;
    }
    state.files.remove(&path);
    match fs::remove_file(&path) {
        Ok(()) => ffi::SQLITE_OK,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => ffi::SQLITE_IOERR_DELETE_NOENT,
        Err(_) => ffi::SQLITE_IOERR_DELETE,
    }
}
