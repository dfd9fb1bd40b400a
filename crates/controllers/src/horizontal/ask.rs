//! Questions that several autoscalers share, and what their failures are called.

use futures::future::{self, BoxFuture};

/// The longest text of a failure that is shown; the rest of a page of HTML helps nobody.
const LONGEST: usize = 1000;

/// An answer that several wait for.
pub(super) type Shared<T> = future::Shared<BoxFuture<'static, T>>;

pub(super) fn shared<T: Clone>(asked: BoxFuture<'static, T>) -> Shared<T> {
    future::FutureExt::shared(asked)
}

/// What the server said, or what went wrong on the way.
pub(super) fn text_of(error: &kube::Error) -> String {
    let mut text = if let kube::Error::Api(status) = error {
        status.message.clone()
    } else {
        crate::runtime::chain(error)
    };
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Text as one segment of a path or one value of a query.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~*".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
            encoded.push('%');
            encoded.extend(
                [byte >> 4, byte & 15]
                    .map(digit)
                    .map(|c| c.to_ascii_uppercase()),
            );
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::encoded;
    use rstest::rstest;

    #[rstest]
    #[case("*", "*")]
    #[case("app=web,tier in (a,b)", "app%3Dweb%2Ctier%20in%20%28a%2Cb%29")]
    #[case("a:b|ü", "a%3Ab%7C%C3%BC")]
    fn text_is_encoded(#[case] text: &str, #[case] want: &str) {
        assert_eq!(encoded(text), want);
    }
}
