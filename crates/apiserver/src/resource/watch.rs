//! WATCH.

use super::feed::{Feed, Initial, failure};
use super::filter::Filter;
use super::options::WatchOptions;
use super::read::reached;
use crate::call::{Call, refused};
use crate::custom::convert;
use crate::http::body;
use crate::http::negotiate::Encoding;
use crate::http::respond::{self, Response};
use crate::server::ApiServer;
use crate::store::{Entry, Event, ListQuery, Page, StoreError, Watch};
use bytes::Bytes;
use plimsoll_api::status::ApiError;
use serde_json::json;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// Watches without their own timeout end after this long, and up to twice as long.
const TIMEOUT_SECONDS: u32 = 1800;
/// Time between bookmarks.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// A last bookmark comes this long before the end.
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);

/// Events that are ready together are sent together, up to about this many bytes.
const BATCH: usize = 16 * 1024;

/// Which bookmarks a watcher wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bookmarks {
    None,
    Periodic,
    /// And one at the end of the initial events.
    WithInitialEnd,
}

/// Opens a watch.
pub(crate) async fn open(call: &Call) -> Result<Response, ApiError> {
    let filter = Filter::parse(call)?;
    let options = WatchOptions::of(call)?;
    if options.revision > 0 {
        // Departs: upstream opens the watch and stays silent until the revision has passed.
        reached(call, options.revision).await?;
    }
    let encoding = call.wanted.encoding;
    let mut opened = match begin(call, &options) {
        Ok(opened) => opened,
        Err(error @ (StoreError::Compacted { .. } | StoreError::Future { .. })) => {
            return Ok(ended(&too_old(&error), encoding));
        }
        Err(error) => return Err(refused(&call.kind, "", &error)),
    };
    opened.0.entries = convert::entries(&call.server, &call.kind, opened.0.entries).await?;
    let feed = Feed {
        server: call.server.clone(),
        kind: Arc::clone(&call.kind),
        shape: call.wanted.shape.clone(),
        encoding,
        filter,
        namespace: call.path.namespace.as_deref().map(Into::into),
        head_sent: false,
    };
    let stream = Stream::new(feed, opened, &options);
    let chunks = futures::stream::unfold(stream, |mut stream| async move {
        let chunk = stream.next().await?;
        Some((chunk, stream))
    });
    let media = encoding.stream_type();
    Ok(respond::streaming(media, body::stream(chunks)))
}

/// The state a watch begins with, and the events after it.
fn begin(call: &Call, options: &WatchOptions) -> Result<(Page, Watch), StoreError> {
    let store = call.server.store();
    if options.with_state() {
        return store.list_and_watch(&ListQuery {
            resource: Arc::clone(&call.kind.storage),
            namespace: call.path.namespace.as_deref().map(Into::into),
            ..ListQuery::default()
        });
    }
    let revision = match options.revision {
        0 => store.revision(),
        revision => revision,
    };
    let page = Page {
        revision,
        entries: Vec::new(),
        remaining: 0,
    };
    Ok((page, store.watch(&call.kind.storage, revision)?))
}

fn too_old(error: &StoreError) -> ApiError {
    let message = if let StoreError::Compacted { asked, oldest } = error {
        format!("too old resource version: {asked} ({oldest})")
    } else {
        error.to_string()
    };
    let mut expired = ApiError::expired(message);
    expired.details = json!({});
    expired
}

/// A watch that fails at once: 200, then one ERROR line.
fn ended(error: &ApiError, encoding: Encoding) -> Response {
    respond::streaming(encoding.stream_type(), body::full(failure(error, encoding)))
}

/// The state of an open watch.
#[derive(Debug)]
struct Stream {
    server: ApiServer,
    feed: Feed,
    initial: std::vec::IntoIter<Arc<Entry>>,
    initial_end: Option<u64>,
    watch: Watch,
    bookmarks: Bookmarks,
    next_bookmark: Instant,
    deadline: Instant,
    timer: Pin<Box<Sleep>>,
    broken: bool,
}

impl Stream {
    fn new(feed: Feed, (page, watch): (Page, Watch), options: &WatchOptions) -> Self {
        let server = feed.server.clone();
        let some_time = || TIMEOUT_SECONDS + server.0.random.below(TIMEOUT_SECONDS);
        let seconds = options.timeout_seconds.unwrap_or_else(some_time);
        let bookmarks = match (options.bookmarks, options.with_state()) {
            (false, _) => Bookmarks::None,
            (true, true) => Bookmarks::WithInitialEnd,
            (true, false) => Bookmarks::Periodic,
        };
        let now = Instant::now();
        server.0.metrics.watching(1);
        let mut stream = Self {
            server,
            feed,
            initial: page.entries.into_iter(),
            initial_end: (bookmarks == Bookmarks::WithInitialEnd).then_some(page.revision),
            watch,
            bookmarks,
            next_bookmark: now,
            deadline: now + Duration::from_secs(u64::from(seconds)),
            timer: Box::pin(sleep_until(now)),
            broken: false,
        };
        stream.plan_bookmark();
        stream
    }

    /// The next lines; `None` ends the watch.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(lines) = self.initial_lines() {
            return Some(lines);
        }
        if let Some(revision) = self.initial_end.take() {
            return Some(self.feed.bookmark(revision, Initial::Ends));
        }
        while !self.broken {
            let now = Instant::now();
            if now >= self.deadline {
                return None;
            }
            if self.bookmarks != Bookmarks::None && now >= self.next_bookmark {
                self.plan_bookmark();
                if let Some(revision) = self.watch.caught_up() {
                    return Some(self.feed.bookmark(revision, Initial::Silent));
                }
            }
            let first = tokio::select! {
                biased;
                event = self.watch.next() => event,
                () = self.timer.as_mut() => {
                    self.set_timer();
                    continue;
                }
            };
            if let Some(lines) = self.lines(first).await {
                return Some(lines);
            }
        }
        None
    }

    /// Some of the objects that were there when the watch began.
    fn initial_lines(&mut self) -> Option<Bytes> {
        let mut lines = Lines::default();
        while lines.len() < BATCH
            && let Some(entry) = self.initial.next()
        {
            lines.push(self.feed.initial(&entry));
        }
        lines.finish()
    }

    /// An event and those that wait behind it.
    async fn lines(&mut self, first: Result<Arc<Event>, StoreError>) -> Option<Bytes> {
        let mut lines = Lines::default();
        let mut next = first.map(Some);
        loop {
            match next {
                Ok(Some(event)) => {
                    match convert::event(&self.server, &self.feed.kind, event).await {
                        Ok(event) => lines.push(self.feed.event(&event)),
                        Err(error) => {
                            self.broken = true;
                            lines.push(Some(failure(&error, self.feed.encoding)));
                            break;
                        }
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    self.broken = true;
                    lines.push(Some(failure(&too_old(&error), self.feed.encoding)));
                    break;
                }
            }
            if lines.len() >= BATCH {
                break;
            }
            next = self.watch.try_next();
        }
        lines.finish()
    }

    /// Wakes at whatever comes first: a bookmark or the end.
    fn set_timer(&mut self) {
        let next = if self.bookmarks == Bookmarks::None {
            self.deadline
        } else {
            self.next_bookmark.min(self.deadline)
        };
        self.timer.as_mut().reset(next);
    }

    fn plan_bookmark(&mut self) {
        let now = Instant::now();
        let before_end = self
            .deadline
            .checked_sub(BOOKMARK_BEFORE_END)
            .unwrap_or(self.deadline);
        let regular = now + BOOKMARK_EVERY;
        self.next_bookmark = if before_end > now {
            regular.min(before_end)
        } else {
            regular
        };
        self.set_timer();
    }
}

/// Lines that are sent together. A single one is passed on without a copy, since watchers share it.
#[derive(Debug, Default)]
struct Lines {
    first: Bytes,
    all: Vec<u8>,
}

impl Lines {
    fn len(&self) -> usize {
        self.first.len().max(self.all.len())
    }

    fn push(&mut self, line: Option<Bytes>) {
        let Some(line) = line else { return };
        if self.first.is_empty() {
            self.first = line;
            return;
        }
        if self.all.is_empty() {
            self.all.extend_from_slice(&self.first);
        }
        self.all.extend_from_slice(&line);
    }

    fn finish(self) -> Option<Bytes> {
        let lines = if self.all.is_empty() {
            self.first
        } else {
            self.all.into()
        };
        (!lines.is_empty()).then_some(lines)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.server.0.metrics.watching(-1);
    }
}
