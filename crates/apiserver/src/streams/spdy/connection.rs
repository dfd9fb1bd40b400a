//! A connection and its streams.

use super::SpdyError;
use super::frame::{Answer, Decoder, Encoder, End, Frame, Reason};
use super::headers::Headers;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Streams that a client may have open at a time.
const STREAMS: usize = 4096;
/// Pieces of data that may wait for the reader of a stream.
const WAITING: usize = 16;
/// Frames that may wait for the client.
const ANSWERS: usize = 8;
/// Bytes read at once.
const CHUNK: usize = 32 * 1024;
/// How long a client may take to hang up once everything has been said.
const LINGER: Duration = Duration::from_secs(5);

/// The stream or its connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client has left")]
pub(crate) struct Gone;

/// What is known of an open stream.
#[derive(Debug)]
struct Slot {
    /// Where its data goes; `None` once the client has finished its side, or nobody reads.
    data: Option<mpsc::Sender<Bytes>>,
    /// Whether this side is finished.
    answered: bool,
    /// Cancelled when the stream is reset or the connection is lost.
    gone: CancellationToken,
}

type Slots = Arc<Mutex<BTreeMap<u32, Slot>>>;

/// The streams that a client opens. Dropping it and every stream ends the connection.
#[derive(Debug)]
pub(crate) struct Incoming {
    streams: mpsc::Receiver<Stream>,
    /// Keeps the connection open while there are no streams.
    _answers: mpsc::Sender<Answer>,
}

impl Incoming {
    /// The next stream; `None` once the client has left.
    pub(crate) async fn next(&mut self) -> Option<Stream> {
        self.streams.recv().await
    }
}

/// A stream that the client has opened.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Its number.
    pub(crate) id: u32,
    /// What it is for.
    pub(crate) headers: Headers,
    reader: Reader,
    writer: Writer,
}

impl Stream {
    /// Takes the stream. If the client has reset it meanwhile, nothing more comes or goes.
    pub(crate) async fn accept(self) -> (Reader, Writer) {
        let _gone = self.writer.say(Answer::Reply(self.id)).await;
        (self.reader, self.writer)
    }

    /// Turns the stream away.
    pub(crate) async fn refuse(self) {
        self.writer.reset(Reason::Refused).await;
    }
}

/// What the client sends on a stream.
#[derive(Debug)]
pub(crate) struct Reader {
    data: mpsc::Receiver<Bytes>,
}

impl Reader {
    /// The next bytes; `None` at the end.
    pub(crate) async fn read(&mut self) -> Option<Bytes> {
        self.data.recv().await
    }
}

/// What the server sends on a stream. Dropped unfinished, it resets nothing: the stream ends with
/// its connection.
#[derive(Debug)]
pub(crate) struct Writer {
    id: u32,
    answers: mpsc::Sender<Answer>,
    slots: Slots,
    gone: CancellationToken,
}

impl Writer {
    /// Sends bytes; waits while the client is slow.
    pub(crate) async fn send(&self, bytes: Bytes) -> Result<(), Gone> {
        let (id, end) = (self.id, End::Open);
        self.say(Answer::Data { id, end, bytes }).await
    }

    /// Says that nothing more comes.
    pub(crate) async fn finish(self) -> Result<(), Gone> {
        let (id, end, bytes) = (self.id, End::Fin, Bytes::new());
        self.say(Answer::Data { id, end, bytes }).await
    }

    /// Ends both directions at once.
    pub(crate) async fn reset(self, reason: Reason) {
        let _gone = self.say(Answer::Reset(self.id, reason)).await;
        self.slots.lock().remove(&self.id);
    }

    /// As [`Writer::reset`], for a stream that is of no use any more.
    pub(crate) async fn cancel(self) {
        self.reset(Reason::Cancelled).await;
    }

    /// Waits until the client has reset the stream, or is gone.
    pub(crate) fn gone(&self) -> impl Future<Output = ()> + Send + use<> {
        self.gone.clone().cancelled_owned()
    }

    async fn say(&self, answer: Answer) -> Result<(), Gone> {
        tokio::select! {
            biased;
            () = self.gone.cancelled() => Err(Gone),
            sent = self.answers.send(answer) => sent.map_err(|_| Gone),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut slots = self.slots.lock();
        let Some(slot) = slots.get_mut(&self.id) else {
            return;
        };
        slot.answered = true;
        if slot.data.is_none() {
            slots.remove(&self.id);
        }
    }
}

/// Serves SPDY on `io`: the streams it brings, and the work to be done for them, which ends when
/// the client leaves or when all streams have been let go of.
pub(crate) fn open<IO>(io: IO) -> (Incoming, impl Future<Output = ()> + Send)
where
    IO: AsyncRead + AsyncWrite + Send + 'static,
{
    let (opened, streams) = mpsc::channel(16);
    let (answers, said) = mpsc::channel(ANSWERS);
    let connection = Connection {
        slots: Slots::default(),
        answers: answers.downgrade(),
        opened,
        last: Arc::default(),
    };
    let incoming = Incoming {
        streams,
        _answers: answers,
    };
    (incoming, connection.drive(io, said))
}

/// The client's side of the bookkeeping.
struct Connection {
    slots: Slots,
    /// Weak: when nobody else could say anything any more, everything has been said.
    answers: mpsc::WeakSender<Answer>,
    opened: mpsc::Sender<Stream>,
    /// The newest stream.
    last: Arc<AtomicU32>,
}

impl Connection {
    async fn drive<IO>(self, io: IO, said: mpsc::Receiver<Answer>)
    where
        IO: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (input, output) = tokio::io::split(io);
        let slots = Arc::clone(&self.slots);
        let write = write(output, said, Arc::clone(&self.last));
        let read = self.read(input);
        let (mut read, write) = (std::pin::pin!(read), std::pin::pin!(write));
        let ended = tokio::select! {
            biased;
            ended = &mut read => ended,
            ended = write => match ended {
                Ok(()) => tokio::time::timeout(LINGER, read).await.unwrap_or(Ok(())),
                Err(error) => Err(error),
            },
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a SPDY connection ended badly");
        }
        for slot in std::mem::take(&mut *slots.lock()).into_values() {
            slot.gone.cancel();
        }
    }

    /// Reads until the client hangs up.
    async fn read(mut self, mut input: impl AsyncRead + Unpin) -> Result<(), SpdyError> {
        let mut decoder = Decoder::default();
        loop {
            decoder.buffer.reserve(CHUNK);
            if input.read_buf(&mut decoder.buffer).await? == 0 {
                return Ok(());
            }
            while let Some(frame) = decoder.next()? {
                self.take(frame).await;
            }
        }
    }

    async fn take(&mut self, frame: Frame) {
        match frame {
            Frame::Open { id, end, headers } => self.open(id, end, headers).await,
            Frame::Data { id, end, bytes } => self.data(id, end, bytes).await,
            Frame::Reset(id) => {
                if let Some(slot) = self.slots.lock().remove(&id) {
                    slot.gone.cancel();
                }
            }
            Frame::Ping(number) => self.say(Answer::Ping(number)).await,
            Frame::GoAway | Frame::Other => {}
        }
    }

    async fn say(&self, answer: Answer) {
        if let Some(answers) = self.answers.upgrade() {
            // A client that has left needs no answer.
            let _gone = answers.send(answer).await;
        }
    }

    async fn open(&mut self, id: u32, end: End, headers: Headers) {
        // Clients count up in odd numbers.
        if id.is_multiple_of(2) || id <= self.last.load(Ordering::Relaxed) {
            return self.say(Answer::Reset(id, Reason::Invalid)).await;
        }
        self.last.store(id, Ordering::Relaxed);
        let Some(answers) = self.answers.upgrade() else {
            return;
        };
        let gone = CancellationToken::new();
        let (sender, data) = mpsc::channel(WAITING);
        let slot = Slot {
            data: (end == End::Open).then_some(sender),
            answered: false,
            gone: gone.clone(),
        };
        {
            let mut slots = self.slots.lock();
            if slots.len() < STREAMS {
                slots.insert(id, slot);
            } else {
                gone.cancel();
            }
        }
        if gone.is_cancelled() {
            return self.say(Answer::Reset(id, Reason::Refused)).await;
        }
        let slots = Arc::clone(&self.slots);
        let writer = Writer {
            id,
            answers,
            slots,
            gone,
        };
        let reader = Reader { data };
        let stream = Stream {
            id,
            headers,
            reader,
            writer,
        };
        if let Err(unwanted) = self.opened.send(stream).await {
            unwanted.0.refuse().await;
        }
    }

    async fn data(&self, id: u32, end: End, bytes: Bytes) {
        let found = {
            let slots = self.slots.lock();
            let slot = slots.get(&id);
            slot.and_then(|slot| Some((slot.data.clone()?, slot.gone.clone())))
        };
        // What arrives for a stream that is over was on its way; it is dropped.
        let Some((sender, gone)) = found else {
            return;
        };
        let wanted = bytes.is_empty()
            || tokio::select! {
                biased;
                () = gone.cancelled() => false,
                sent = sender.send(bytes) => sent.is_ok(),
            };
        if end == End::Open && wanted {
            return;
        }
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.get_mut(&id) {
            slot.data = None;
            if slot.answered {
                slots.remove(&id);
            }
        }
    }
}

/// Writes what is said until nothing more can come.
async fn write(
    mut output: impl AsyncWrite + Unpin,
    mut said: mpsc::Receiver<Answer>,
    last: Arc<AtomicU32>,
) -> Result<(), SpdyError> {
    let (mut encoder, mut buffer) = (Encoder::default(), BytesMut::new());
    while let Some(answer) = said.recv().await {
        encoder.put(&answer, &mut buffer);
        while buffer.len() < CHUNK
            && let Ok(more) = said.try_recv()
        {
            encoder.put(&more, &mut buffer);
        }
        output.write_all_buf(&mut buffer).await?;
        output.flush().await?;
    }
    encoder.put(&Answer::GoAway(last.load(Ordering::Relaxed)), &mut buffer);
    output.write_all_buf(&mut buffer).await?;
    output.shutdown().await?;
    Ok(())
}
