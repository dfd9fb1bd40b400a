//! Request bodies in, response bodies out.

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use plimsoll_api::status::ApiError;
use std::convert::Infallible;

/// The largest request body that is read, in bytes.
pub(crate) const LIMIT_BYTES: usize = 3 * 1024 * 1024;

/// The body of every answer: complete, or a stream of chunks.
pub type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

/// A body that is complete.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

/// A body that is sent chunk by chunk.
pub(crate) fn stream(chunks: impl Stream<Item = Bytes> + Send + 'static) -> Body {
    StreamBody::new(chunks.map(|chunk| Ok(http_body::Frame::data(chunk)))).boxed_unsync()
}

/// Reads a request body whole, up to [`LIMIT_BYTES`].
pub(crate) async fn read<B>(body: B) -> Result<Bytes, ApiError>
where
    B: http_body::Body,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if body.size_hint().lower() > LIMIT_BYTES as u64 {
        return Err(too_large());
    }
    match Limited::new(body, LIMIT_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Err(error) => Err(ApiError::bad_request(format!(
            "cannot read the request body: {error}"
        ))),
    }
}

fn too_large() -> ApiError {
    let message = format!("Request entity too large: limit is {LIMIT_BYTES}");
    ApiError::new(413, "RequestEntityTooLarge", message)
}
