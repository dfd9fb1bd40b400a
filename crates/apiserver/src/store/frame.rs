//! What watchers share of an event.

use bytes::Bytes;
use parking_lot::Mutex;

/// An event as it goes over the wire, made by the first watcher that needs it and kept while the
/// event is new: watchers that follow closely share one copy, and history holds none.
#[derive(Debug, Default)]
pub struct Frame(Mutex<Option<Bytes>>);

impl Frame {
    /// The frame, made if there is none now.
    pub fn get_or_make(&self, make: impl FnOnce() -> Bytes) -> Bytes {
        self.0.lock().get_or_insert_with(make).clone()
    }

    /// Lets go of the copy; who needs it later makes another.
    pub(super) fn forget(&self) {
        self.0.lock().take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_made_once_while_it_is_kept() {
        let frame = Frame::default();
        let first = frame.get_or_make(|| Bytes::from_static(b"a"));
        assert_eq!(frame.get_or_make(|| Bytes::from_static(b"b")), first);
        frame.forget();
        assert_eq!(frame.get_or_make(|| Bytes::from_static(b"c")), "c");
    }
}
