//! The unwinder that std links, where there is nothing to unwind by.
//!
//! The program of a router has no unwind tables and ends at a panic (docs/decisions/043): a walk of its stack ends where
//! it begins. Saying so here keeps the real unwinder, 45 kB that could find nothing, out of the program. Message and
//! thread of a panic are printed as ever.

#![allow(unsafe_code, reason = "the names are the C++ ABI's, which std links against")]

use std::ffi::{c_int, c_void};

/// `_URC_END_OF_STACK`.
const END_OF_STACK: c_int = 5;

// SAFETY: name and signature are those of the Itanium C++ ABI for exceptions, level I, and no other object of the
// program defines it. The callback is never called, which its caller takes for a stack without frames.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(
    _frame: Option<extern "C" fn(*mut c_void, *mut c_void) -> c_int>,
    _argument: *mut c_void,
) -> c_int {
    END_OF_STACK
}

/// What std asks of a frame or of an exception. There are none of either, so that none of these is ever called.
macro_rules! never_called {
    ($($name:ident($($argument:ty),+)$( -> $result:ty)?;)+) => { $(
        // SAFETY: as above; it does nothing, whatever it is handed.
        #[unsafe(no_mangle)]
        extern "C" fn $name($(_: $argument),+) -> never_called!(@ $($result)?) {
            Default::default()
        }
    )+ };
    (@) => { () };
    (@ $result:ty) => { $result };
}

never_called! {
    _Unwind_GetIP(*mut c_void) -> usize;
    _Unwind_GetIPInfo(*mut c_void, *mut c_int) -> usize;
    _Unwind_GetRegionStart(*mut c_void) -> usize;
    _Unwind_GetLanguageSpecificData(*mut c_void) -> usize;
    _Unwind_GetTextRelBase(*mut c_void) -> usize;
    _Unwind_GetDataRelBase(*mut c_void) -> usize;
    _Unwind_SetGR(*mut c_void, c_int, usize);
    _Unwind_SetIP(*mut c_void, usize);
}
