//! What AWS's refusals mean here.

use aws_sdk_autoscaling::config::http::HttpResponse;
use aws_sdk_autoscaling::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use plimsoll_api::nodegroup::{ErrorClass, ProviderError};
use std::error::Error;

/// A failed call of the SDK, where `tried` says what was tried.
pub(crate) fn failed<E>(tried: &str, error: &SdkError<E, HttpResponse>) -> ProviderError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let SdkError::ServiceError(answer) = error else {
        let context = DisplayErrorContext(error).to_string();
        if context.to_ascii_lowercase().contains("credential") {
            return no_credentials(tried, &innermost(error));
        }
        let lost = matches!(
            error,
            SdkError::TimeoutError(_) | SdkError::DispatchFailure(_)
        );
        let class = if lost {
            ErrorClass::Unreachable
        } else {
            ErrorClass::Other
        };
        return ProviderError::new(class, format!("{tried}: {context}"));
    };
    let status = answer.raw().status().as_u16();
    let code = answer.err().code().unwrap_or_default();
    refused(
        tried,
        status,
        code,
        answer.err().message().unwrap_or_default(),
    )
}

/// An answer that is no success.
pub(crate) fn refused(tried: &str, status: u16, code: &str, message: &str) -> ProviderError {
    let said = match (code, message) {
        ("", "") => format!("status {status}"),
        ("", message) => message.to_owned(),
        (code, "") => code.to_owned(),
        (code, message) => format!("{code}: {message}"),
    };
    ProviderError {
        class: class(status, code, message),
        code: code.to_owned(),
        message: format!("{tried}: {said}{}", what_helps(code)),
    }
}

/// What to do about credentials that AWS refuses.
fn what_helps(code: &str) -> &'static str {
    match code {
        "ExpiredToken" | "ExpiredTokenException" => {
            "; the AWS credentials have expired: renew AWS_SESSION_TOKEN and its keys, or give the service \
             account or the machine a role, whose credentials are renewed by themselves"
        }
        "InvalidClientTokenId" | "UnrecognizedClientException" => {
            "; check AWS_ACCESS_KEY_ID, or the profile or role that is used in its place"
        }
        "SignatureDoesNotMatch" | "InvalidSignatureException" | "RequestExpired" => {
            "; check AWS_SECRET_ACCESS_KEY, and this machine's clock"
        }
        _ => "",
    }
}

/// Nobody provides credentials.
pub(crate) fn no_credentials(tried: &str, why: &str) -> ProviderError {
    ProviderError {
        class: ErrorClass::Forbidden,
        code: "NoCredentials".to_owned(),
        message: format!(
            "{tried}: no AWS credentials ({why}); give the service account or the machine a role, or set \
             AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or AWS_ROLE_ARN and \
             AWS_WEB_IDENTITY_TOKEN_FILE"
        ),
    }
}

/// The error at the bottom of others.
pub(crate) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// The class of an error code; the codes are those of the services' error lists.
pub(crate) fn class(status: u16, code: &str, message: &str) -> ErrorClass {
    match code {
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "SlowDown"
        | "BandwidthLimitExceeded"
        | "ResourceContention" => ErrorClass::Throttled,
        "AccessDenied"
        | "AccessDeniedException"
        | "UnauthorizedOperation"
        | "AuthFailure"
        | "OptInRequired"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidSignatureException"
        | "RequestExpired"
        | "MissingAuthenticationToken"
        | "IncompleteSignature"
        | "NotAuthorized" => ErrorClass::Forbidden,
        "ValidationError" if is_not_found(message) => ErrorClass::NotFound,
        "ValidationError"
        | "InvalidParameterValue"
        | "InvalidParameterCombination"
        | "InvalidParameterException" => ErrorClass::Invalid,
        "ResourceNotFoundException" => ErrorClass::NotFound,
        "UnsupportedOperation" | "InvalidAction" => ErrorClass::Unsupported,
        code if code.contains(".NotFound") || code.ends_with(".NotFoundException") => {
            ErrorClass::NotFound
        }
        code if is_quota(code) => ErrorClass::QuotaExceeded,
        code if is_stock_out(code) => ErrorClass::OutOfResources,
        _ if status == 429 || status == 503 => ErrorClass::Throttled,
        _ if status == 403 || status == 401 => ErrorClass::Forbidden,
        _ if status == 404 => ErrorClass::NotFound,
        _ => ErrorClass::Other,
    }
}

fn is_not_found(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("not found") || message.contains("does not exist")
}

fn is_quota(code: &str) -> bool {
    code == "LimitExceeded"
        || code.ends_with("LimitExceeded")
        || code == "MaxSpotInstanceCountExceeded"
}

fn is_stock_out(code: &str) -> bool {
    code.starts_with("Insufficient")
        || code == "SpotMaxPriceTooLow"
        || code == "UnfulfillableCapacity"
}

/// Error codes that messages about failed launches name, or say in words.
const IN_WORDS: &[(&str, &str)] = &[
    ("you have requested more vcpu capacity", "VcpuLimitExceeded"),
    ("you have requested more instances", "InstanceLimitExceeded"),
    ("you've reached your quota", "VcpuLimitExceeded"),
    (
        "max spot instance count exceeded",
        "MaxSpotInstanceCountExceeded",
    ),
    ("do not have sufficient", "InsufficientInstanceCapacity"),
    ("no spot capacity available", "InsufficientInstanceCapacity"),
    ("insufficient capacity", "InsufficientInstanceCapacity"),
    (
        "not enough free addresses",
        "InsufficientFreeAddressesInSubnet",
    ),
    (
        "insufficient free addresses",
        "InsufficientFreeAddressesInSubnet",
    ),
];

/// The code of a launch that failed, as upstream has it where the message names none.
pub(crate) const UNNAMED: &str = "placeholder-cannot-be-fulfilled";

/// Code and class of a failed launch, by what the activity says.
///
/// Parity: upstream counts every failed launch as a lack of resources; here limits of the account
/// are told apart, which changes the message but not what follows.
pub(crate) fn launch_failure(message: &str) -> (&str, ErrorClass) {
    let is_code =
        |word: &&str| is_quota(word) || is_stock_out(word) && word.len() > "Insufficient".len();
    let mut words = message.split(|letter: char| !letter.is_ascii_alphanumeric());
    let named = words.find(is_code);
    let lower = message.to_ascii_lowercase();
    let told = || {
        IN_WORDS
            .iter()
            .find(|(words, _)| lower.contains(words))
            .map(|(_, code)| *code)
    };
    let code = named.or_else(told).unwrap_or(UNNAMED);
    let class = if is_quota(code) {
        ErrorClass::QuotaExceeded
    } else {
        ErrorClass::OutOfResources
    };
    (code, class)
}

#[cfg(test)]
mod tests {
    use super::{class, failed, launch_failure, refused};
    use aws_credential_types::provider::error::CredentialsError;
    use aws_sdk_autoscaling::config::http::HttpResponse;
    use aws_sdk_autoscaling::error::SdkError;
    use aws_sdk_autoscaling::operation::set_desired_capacity::SetDesiredCapacityError;
    use plimsoll_api::nodegroup::ErrorClass;
    use rstest::rstest;

    #[rstest]
    #[case(400, "Throttling", "Rate exceeded", ErrorClass::Throttled)]
    #[case(503, "RequestLimitExceeded", "", ErrorClass::Throttled)]
    #[case(503, "", "", ErrorClass::Throttled)]
    #[case(404, "", "", ErrorClass::NotFound)]
    #[case(404, "ResourceNotFoundException", "", ErrorClass::NotFound)]
    #[case(400, "InvalidParameterException", "", ErrorClass::Invalid)]
    #[case(500, "InternalFailure", "", ErrorClass::Other)]
    #[case(403, "AccessDenied", "User is not authorized", ErrorClass::Forbidden)]
    #[case(403, "UnauthorizedOperation", "", ErrorClass::Forbidden)]
    #[case(
        400,
        "ValidationError",
        "AutoScalingGroup name not found - x",
        ErrorClass::NotFound
    )]
    #[case(
        400,
        "ValidationError",
        "New SetDesiredCapacity value 9 is above max value 6",
        ErrorClass::Invalid
    )]
    #[case(400, "InvalidLaunchTemplateId.NotFound", "", ErrorClass::NotFound)]
    #[case(400, "VcpuLimitExceeded", "", ErrorClass::QuotaExceeded)]
    #[case(400, "InsufficientInstanceCapacity", "", ErrorClass::OutOfResources)]
    #[case(400, "ScalingActivityInProgress", "", ErrorClass::Other)]
    fn classes(
        #[case] status: u16,
        #[case] code: &str,
        #[case] message: &str,
        #[case] want: ErrorClass,
    ) {
        assert_eq!(class(status, code, message), want);
    }

    #[rstest]
    #[case(
        "We currently do not have sufficient m5.large capacity in the Availability Zone you requested (us-east-1a). Launching EC2 instance failed.",
        "InsufficientInstanceCapacity",
        ErrorClass::OutOfResources
    )]
    #[case(
        "Could not launch On-Demand Instances. VcpuLimitExceeded - You have requested more vCPU capacity than your current vCPU limit of 32 allows. Launching EC2 instance failed.",
        "VcpuLimitExceeded",
        ErrorClass::QuotaExceeded
    )]
    #[case(
        "You have requested more vCPU capacity than your current vCPU limit of 5 allows for the instance bucket.",
        "VcpuLimitExceeded",
        ErrorClass::QuotaExceeded
    )]
    #[case(
        "There is no Spot capacity available that matches your request. Launching EC2 instance failed.",
        "InsufficientInstanceCapacity",
        ErrorClass::OutOfResources
    )]
    #[case(
        "Could not launch Spot Instances. MaxSpotInstanceCountExceeded - Max spot instance count exceeded",
        "MaxSpotInstanceCountExceeded",
        ErrorClass::QuotaExceeded
    )]
    #[case(
        "The key pair 'gone' does not exist. Launching EC2 instance failed.",
        "placeholder-cannot-be-fulfilled",
        ErrorClass::OutOfResources
    )]
    #[case("", "placeholder-cannot-be-fulfilled", ErrorClass::OutOfResources)]
    fn reads_failed_launches(#[case] message: &str, #[case] code: &str, #[case] want: ErrorClass) {
        assert_eq!(launch_failure(message), (code, want));
    }

    #[test]
    fn says_what_to_set_where_there_are_no_credentials() {
        let lacking = CredentialsError::not_loaded("nothing in the chain");
        let error: SdkError<SetDesiredCapacityError, HttpResponse> =
            SdkError::construction_failure(lacking);
        let told = failed("describing groups", &error);
        assert_eq!(told.class, ErrorClass::Forbidden);
        assert!(
            told.message
                .starts_with("describing groups: no AWS credentials (nothing in the chain); give"),
            "{told}"
        );
        assert!(
            told.message.contains("AWS_WEB_IDENTITY_TOKEN_FILE"),
            "{told}"
        );
        let lost: SdkError<SetDesiredCapacityError, HttpResponse> =
            SdkError::timeout_error("too long");
        assert_eq!(failed("x", &lost).class, ErrorClass::Unreachable);
    }

    #[rstest]
    #[case("ExpiredToken", "AWS_SESSION_TOKEN")]
    #[case("InvalidClientTokenId", "AWS_ACCESS_KEY_ID")]
    #[case("RequestExpired", "clock")]
    fn says_what_helps_where_credentials_are_refused(#[case] code: &str, #[case] word: &str) {
        let error = refused("describing groups", 403, code, "no");
        assert_eq!(error.class, ErrorClass::Forbidden);
        assert!(error.message.contains(word), "{error}");
    }

    #[test]
    fn says_what_was_tried_and_answered() {
        let error = refused("describing groups", 403, "AccessDenied", "no");
        assert_eq!(error.to_string(), "describing groups: AccessDenied: no");
        assert_eq!(error.code, "AccessDenied");
        let bare = refused("describing groups", 500, "", "");
        assert_eq!(bare.to_string(), "describing groups: status 500");
    }
}
