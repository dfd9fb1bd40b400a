//! Request bodies in, response bodies out.

use bytes::{Buf, Bytes};
use futures::{Stream, StreamExt};
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use plimsoll_api::status::ApiError;

/// The largest request body that is read, in bytes.
pub(crate) const LIMIT_BYTES: usize = 3 * 1024 * 1024;

/// Why a body broke off.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of every answer: complete, or a stream of chunks. It breaks off only where it is passed
/// on from somebody else.
pub type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, BodyError>;

/// A body that is complete.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A body that is sent chunk by chunk.
pub(crate) fn stream(chunks: impl Stream<Item = Bytes> + Send + 'static) -> Body {
    StreamBody::new(chunks.map(|chunk| Ok(http_body::Frame::data(chunk)))).boxed_unsync()
}

/// A request body: whole, or for the subresource `proxy` to be passed on as it comes.
pub(crate) async fn take<B>(
    body: B,
    subresource: Option<&str>,
) -> Result<(Bytes, Option<Body>), ApiError>
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BodyError>,
{
    if subresource == Some("proxy") {
        return Ok((Bytes::new(), Some(passing(body))));
    }
    Ok((read(body).await?, None))
}

/// A request body to be passed on as it comes.
pub(crate) fn passing<B>(body: B) -> Body
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BodyError>,
{
    let frames = body.map_frame(|frame| {
        frame.map_data(|mut data| {
            let length = data.remaining();
            data.copy_to_bytes(length)
        })
    });
    frames.map_err(Into::into).boxed_unsync()
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
