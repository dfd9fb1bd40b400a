//! What ends a command whose caller has lost patience.

use std::fmt;

/// Ends a process when it is dropped, unless it was released before.
pub struct Leash(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Leash {
    /// One that ends nothing.
    pub fn loose() -> Self {
        Self(None)
    }

    /// One that ends a process in this way, without waiting.
    pub fn new(end: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(end)))
    }

    /// The process has ended by itself.
    pub fn release(mut self) {
        self.0 = None;
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

impl fmt::Debug for Leash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Leash").field(&self.0.is_some()).finish()
    }
}
