//! How much memory clients' statements take: each for itself while it runs, and all of this process together with the
//! results that are on their way to clients.
//!
//! SQLite runs a statement on one thread, so what it allocates there meanwhile is the statement's: sorts, groups,
//! materialized queries, values. Its allocator is wrapped to count. A statement that has reached its limit is
//! interrupted, which SQLite does at the next row; what it still takes until then is given up to `SLACK_BYTES`, and
//! beyond that there is no memory, as if the machine had no more: SQLite then ends the statement, and the transaction
//! that it is in. What our own code keeps for a statement it `charge`s to the same meter.
//!
//! Freed memory of an earlier statement makes a balance less than it is, by at most a connection's page cache; one that
//! fills this cache has the same allowance on top of its limit.
//!
//! One of the places with `unsafe`: SQLite's allocator is a table of C functions. Source:
//! <https://www.sqlite.org/c3ref/mem_methods.html>.
#![allow(unsafe_code, reason = "SQLite's table of allocation functions; each block argues why it is sound")]

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use libsqlite3_sys as ffi;
use rusqlite::Connection;

/// A statement takes from what all may have together so much at a time: the counter is shared by all threads.
const GRANT_BYTES: usize = 256 << 10;
/// A connection's page cache, which a statement may have to fill before it can do anything.
pub(crate) const CACHE_BYTES: usize = 4 << 20;
/// What a statement has in any case: small ones go on where others hold all.
const STATEMENT_FREE_BYTES: usize = CACHE_BYTES + (1 << 20);
/// The same of a result.
const RESULT_FREE_BYTES: usize = 16 << 10;
/// What an interrupted statement may still take: the largest value, while it is made.
const SLACK_BYTES: usize = 32 << 20;
/// What all statements and results of the process may hold together, unless [`set_total`] says otherwise.
pub const TOTAL_BYTES: usize = 1 << 30;
/// What one statement may hold, unless its caller says otherwise.
pub const STATEMENT_BYTES: usize = 64 << 20;

static TOTAL: AtomicUsize = AtomicUsize::new(TOTAL_BYTES);
static TAKEN: AtomicUsize = AtomicUsize::new(0);
/// Whether they hold much of what they may: from a quarter of it on, until an eighth.
static PRESSED: AtomicBool = AtomicBool::new(false);
static ON_PRESSURE: Mutex<Option<fn(bool)>> = Mutex::new(None);

/// Why there is no more memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhausted {
    /// The statement holds all that one may, so many bytes.
    Statement(usize),
    /// All of the process hold together what they may, so many bytes.
    Total(usize),
}

impl std::fmt::Display for Exhausted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Statement(most) => {
                write!(f, "out of memory: the statement needs more than {most} bytes at once")
            }
            Self::Total(most) => {
                write!(f, "out of memory: the statements and results of this node hold {most} bytes together")
            }
        }
    }
}

/// What the statement that runs on this thread holds.
struct Meter {
    /// False: none runs, and nothing is counted.
    runs: Cell<bool>,
    /// Whether SQLite may be refused memory now. It may not where ours reads values of it, which cannot fail.
    refuses: Cell<bool>,
    /// The connection that it runs on.
    connection: Cell<*mut ffi::sqlite3>,
    held: Cell<isize>,
    most: Cell<usize>,
    /// How much it may hold when it was interrupted.
    last: Cell<usize>,
    /// Of [`TAKEN`], but for the first [`STATEMENT_FREE_BYTES`].
    granted: Cell<usize>,
    exhausted: Cell<Option<Exhausted>>,
}

thread_local! {
    static METER: Meter = const {
        Meter {
            runs: Cell::new(false),
            refuses: Cell::new(false),
            connection: Cell::new(ptr::null_mut()),
            held: Cell::new(0),
            most: Cell::new(0),
            last: Cell::new(0),
            granted: Cell::new(0),
            exhausted: Cell::new(None),
        }
    };
}

impl Meter {
    /// Counts `bytes` more; false: there are no more, and nothing was counted.
    fn grow(&self, bytes: usize) -> bool {
        let held = self.held.get().saturating_add_unsigned(bytes);
        let needed = usize::try_from(held).unwrap_or(0);
        if needed > self.granted.get() && !self.grant(needed) {
            return false;
        }
        self.held.set(held);
        true
    }

    fn grant(&self, needed: usize) -> bool {
        let more = (needed - self.granted.get()).next_multiple_of(GRANT_BYTES);
        if self.exhausted.get().is_none() {
            let taken = match needed > self.most.get() {
                true => Err(Exhausted::Statement(self.most.get() - CACHE_BYTES)),
                false => take(more),
            };
            match taken {
                Ok(()) => {
                    self.granted.set(self.granted.get() + more);
                    return true;
                }
                Err(exhausted) => self.interrupt(exhausted),
            }
        }
        if needed > self.last.get() {
            return false;
        }
        TAKEN.fetch_add(more, Ordering::Relaxed);
        self.granted.set(self.granted.get() + more);
        true
    }

    fn interrupt(&self, why: Exhausted) {
        self.exhausted.set(Some(why));
        // Not beyond what is wanted now: that alone may be too much.
        self.last.set(self.granted.get().saturating_add(SLACK_BYTES));
        let connection = self.connection.get();
        if !connection.is_null() {
            // SAFETY: the connection is open as long as its statement runs, and this only sets a flag of it.
            unsafe { ffi::sqlite3_interrupt(connection) }
        }
    }

    fn shrink(&self, bytes: usize) {
        self.held.set(self.held.get().saturating_sub_unsigned(bytes));
    }
}

/// What all may hold together from now on.
pub fn set_total(bytes: usize) {
    TOTAL.store(bytes, Ordering::Relaxed);
}

/// Calls `told` whenever statements and results begin to hold much of what they may (true), and when they cease to: an
/// allocator that keeps what is freed for a while should not do so between. `told` may not allocate. The last call counts.
pub fn on_pressure(told: fn(bool)) {
    *ON_PRESSURE.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
}

fn is_pressed(was: bool) -> bool {
    let much = TOTAL.load(Ordering::Relaxed) / if was { 8 } else { 4 };
    TAKEN.load(Ordering::Relaxed) > much
}

/// After each change of [`TAKEN`]; the lock is taken only where pressure begins or ends, and keeps the two in order.
fn tell_pressure() {
    let was = PRESSED.load(Ordering::Relaxed);
    if is_pressed(was) == was {
        return;
    }
    let told = ON_PRESSURE.lock().unwrap_or_else(PoisonError::into_inner);
    let was = PRESSED.load(Ordering::Relaxed);
    let now = is_pressed(was);
    if now != was {
        PRESSED.store(now, Ordering::Relaxed);
        if let Some(told) = *told {
            told(now);
        }
    }
}

/// What they hold together now.
pub fn taken() -> usize {
    TAKEN.load(Ordering::Relaxed)
}

fn take(bytes: usize) -> Result<(), Exhausted> {
    let most = TOTAL.load(Ordering::Relaxed);
    let more = |taken: usize| taken.checked_add(bytes).filter(|taken| *taken <= most);
    let taken = TAKEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    taken.map_err(|_| Exhausted::Total(most))?;
    tell_pressure();
    Ok(())
}

fn give_back(bytes: usize) {
    TAKEN.fetch_sub(bytes, Ordering::Relaxed);
    tell_pressure();
}

/// A statement that runs on this thread, until it is dropped.
pub(crate) struct Metered<'c> {
    /// It is of this thread, and its connection is open meanwhile.
    connection: PhantomData<(*const (), &'c Connection)>,
}

impl<'c> Metered<'c> {
    /// It may hold so many bytes, and a page cache. At most one runs on a thread at a time.
    pub(crate) fn begin(most: usize, connection: Option<&'c Connection>) -> Self {
        METER.with(|meter| {
            // SAFETY: the handle is kept for as long as `connection` is borrowed, and only to interrupt it.
            let handle = connection.map_or(ptr::null_mut(), |connection| unsafe { connection.handle() });
            meter.connection.set(handle);
            meter.held.set(0);
            meter.granted.set(STATEMENT_FREE_BYTES);
            meter.most.set(most.saturating_add(CACHE_BYTES));
            meter.exhausted.set(None);
            meter.runs.set(true);
        });
        Self { connection: PhantomData }
    }

    /// Why it was refused memory, if it was.
    pub(crate) fn exhausted(&self) -> Option<Exhausted> {
        METER.with(|meter| meter.exhausted.get())
    }

    /// Lets SQLite be refused memory while `run` runs.
    pub(crate) fn within<T>(&self, run: impl FnOnce() -> T) -> T {
        switched(true, run)
    }
}

impl Drop for Metered<'_> {
    fn drop(&mut self) {
        METER.with(|meter| {
            meter.runs.set(false);
            meter.connection.set(ptr::null_mut());
            give_back(meter.granted.replace(0) - STATEMENT_FREE_BYTES);
        });
    }
}

/// Never refuses SQLite memory while `run` runs: for code that SQLite calls, and that reads its values.
pub(crate) fn unrefused<T>(run: impl FnOnce() -> T) -> T {
    switched(false, run)
}

fn switched<T>(refuses: bool, run: impl FnOnce() -> T) -> T {
    /// Puts it back, after a panic too.
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            METER.with(|meter| meter.refuses.set(self.0));
        }
    }
    let _before = Before(METER.with(|meter| meter.refuses.replace(refuses)));
    run()
}

/// Counts what our own code keeps for the statement that runs on this thread: more of it, or less. False: it may not
/// have more.
pub(crate) fn charge(before: usize, now: usize) -> bool {
    METER.with(|meter| {
        if !meter.runs.get() {
            return true;
        }
        meter.shrink(before);
        meter.grow(now) && meter.exhausted.get().is_none()
    })
}

/// Whether the statement of this thread is to end, as it has reached its limit.
pub(crate) fn is_exhausted() -> bool {
    METER.with(|meter| meter.runs.get() && meter.exhausted.get().is_some())
}

/// Memory of a result, as long as it is on its way to its client.
#[derive(Debug, Default)]
pub struct Held {
    used: usize,
    granted: usize,
}

impl Held {
    /// Takes so many bytes more.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Exhausted> {
        self.used = self.used.saturating_add(bytes);
        let needed = self.used.saturating_sub(RESULT_FREE_BYTES);
        if needed > self.granted {
            let more = (needed - self.granted).next_multiple_of(GRANT_BYTES);
            take(more)?;
            self.granted += more;
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        give_back(self.granted);
    }
}

/// SQLite's own allocator, for which ours counts.
#[derive(Clone, Copy)]
struct System {
    allocate: unsafe extern "C" fn(c_int) -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void),
    reallocate: unsafe extern "C" fn(*mut c_void, c_int) -> *mut c_void,
    size: unsafe extern "C" fn(*mut c_void) -> c_int,
}

static SYSTEM: OnceLock<Result<System, c_int>> = OnceLock::new();

/// Wraps SQLite's allocator, once, before anything else of SQLite is used in the process. The error is SQLite's code:
/// 21 if it was used before.
pub fn install() -> Result<(), c_int> {
    SYSTEM.get_or_init(wrap).as_ref().map(drop).map_err(|code| *code)
}

fn wrap() -> Result<System, c_int> {
    let mut methods = MaybeUninit::<ffi::sqlite3_mem_methods>::uninit();
    // SAFETY: the call takes a pointer to such a structure, and fills it unless it returns an error.
    let methods = unsafe {
        match ffi::sqlite3_config(ffi::SQLITE_CONFIG_GETMALLOC, methods.as_mut_ptr()) {
            ffi::SQLITE_OK => methods.assume_init(),
            code => return Err(code),
        }
    };
    let (Some(system_allocate), Some(system_free), Some(system_reallocate), Some(size)) =
        (methods.xMalloc, methods.xFree, methods.xRealloc, methods.xSize)
    else {
        return Err(ffi::SQLITE_MISUSE);
    };
    let counting = ffi::sqlite3_mem_methods {
        xMalloc: Some(allocate),
        xFree: Some(free),
        xRealloc: Some(reallocate),
        ..methods
    };
    // SAFETY: the call copies the structure, and refuses by itself when SQLite runs already. The functions in it keep the
    // contract of those that they wrap.
    match unsafe { ffi::sqlite3_config(ffi::SQLITE_CONFIG_MALLOC, &raw const counting) } {
        ffi::SQLITE_OK => {
            Ok(System { allocate: system_allocate, free: system_free, reallocate: system_reallocate, size })
        }
        code => Err(code),
    }
}

fn system() -> Option<&'static System> {
    SYSTEM.get().and_then(|system| system.as_ref().ok())
}

fn bytes(size: c_int) -> usize {
    usize::try_from(size).unwrap_or(0)
}

/// Whether the statement of this thread may have so many bytes more; they are counted. One that may not be refused has
/// them in any case, and is told later.
fn may_grow(bytes: usize) -> bool {
    METER.with(|meter| {
        if !meter.runs.get() || meter.grow(bytes) {
            return true;
        }
        if meter.refuses.get() {
            return false;
        }
        meter.held.set(meter.held.get().saturating_add_unsigned(bytes));
        true
    })
}

fn has_shrunk(bytes: usize) {
    METER.with(|meter| {
        if meter.runs.get() {
            meter.shrink(bytes);
        }
    });
}

unsafe extern "C" fn allocate(size: c_int) -> *mut c_void {
    let Some(system) = system() else { return ptr::null_mut() };
    if !may_grow(bytes(size)) {
        return ptr::null_mut();
    }
    // SAFETY: the caller keeps the contract of the function, which is the same.
    unsafe { (system.allocate)(size) }
}

unsafe extern "C" fn free(memory: *mut c_void) {
    let Some(system) = system() else { return };
    // SAFETY: `memory` came from these functions, so from the system's, and is not used after this.
    unsafe {
        has_shrunk(bytes((system.size)(memory)));
        (system.free)(memory);
    }
}

unsafe extern "C" fn reallocate(memory: *mut c_void, size: c_int) -> *mut c_void {
    let Some(system) = system() else { return ptr::null_mut() };
    // SAFETY: `memory` came from these functions and is in use until the last call, which keeps it as it is if it fails.
    unsafe {
        let before = bytes((system.size)(memory));
        // Both are there while one is copied to the other.
        if !may_grow(bytes(size)) {
            return ptr::null_mut();
        }
        let moved = (system.reallocate)(memory, size);
        has_shrunk(if moved.is_null() { bytes(size) } else { before });
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_and_a_result_get_what_they_may_hold() {
        {
            let metered = Metered::begin(4 << 20, None);
            assert!(charge(0, CACHE_BYTES + (4 << 20)));
            assert!(!charge(0, 1));
            assert_eq!(metered.exhausted(), Some(Exhausted::Statement(4 << 20)));
        }
        assert!(charge(0, 1 << 30), "none runs, and nothing is counted");
        let mut held = Held::default();
        assert!(held.grow(RESULT_FREE_BYTES + 1).is_ok());
        assert!(taken() >= GRANT_BYTES);
        assert!(matches!(held.grow(usize::MAX / 2), Err(Exhausted::Total(_))));
    }

    #[test]
    fn pressure_is_told_when_it_begins_and_when_it_ends() {
        static TOLD: Mutex<Vec<bool>> = Mutex::new(Vec::new());
        let told = || TOLD.lock().unwrap().clone();
        on_pressure(|pressed| TOLD.lock().unwrap().push(pressed));
        let (mut first, mut second) = (Held::default(), Held::default());
        // Others of this process hold less than what is between these and the limits.
        first.grow(TOTAL_BYTES / 32).unwrap();
        second.grow(TOTAL_BYTES / 16).unwrap();
        assert_eq!(told(), []);
        second.grow(TOTAL_BYTES / 4).unwrap();
        assert_eq!(told(), [true]);
        first.grow(TOTAL_BYTES / 8).unwrap();
        assert_eq!(told(), [true]);
        drop(second);
        assert_eq!(told(), [true], "what is left is more than an eighth");
        drop(first);
        assert_eq!(told(), [true, false]);
    }
}
