//! The bounds of one limit, and what is said when they are passed.

use super::range::Limit;
use plimsoll_api::resources::Amounts;
use plimsoll_quantity::Quantity;

/// What someone asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) requests: &'a Amounts,
    pub(super) limits: &'a Amounts,
}

/// A resource and its bound.
type Bound<'a> = (&'a str, Quantity);

/// Every violation of the limit's bounds.
pub(super) fn violations(limit: &Limit, asked: Asked<'_>) -> Vec<String> {
    let low = limit
        .min
        .iter()
        .filter_map(|(name, min)| below(limit, (name, *min), asked));
    let high = limit
        .max
        .iter()
        .filter_map(|(name, max)| above(limit, (name, *max), asked));
    let steep = limit
        .ratio
        .iter()
        .filter_map(|(name, ratio)| too_steep(limit, (name, *ratio), asked));
    low.chain(high).chain(steep).collect()
}

/// A request, or a limit, below the minimum.
pub(super) fn below(limit: &Limit, (name, min): Bound<'_>, asked: Asked<'_>) -> Option<String> {
    let head = format!("minimum {name} usage per {} is {min}", limit.name);
    let Some(request) = asked.requests.get(name) else {
        return Some(format!("{head}.  No request is specified"));
    };
    if *request < min {
        return Some(format!("{head}, but request is {request}"));
    }
    let ceiling = asked.limits.get(name).filter(|ceiling| **ceiling < min)?;
    Some(format!("{head}, but limit is {ceiling}"))
}

/// A limit, or a request, above the maximum.
fn above(limit: &Limit, (name, max): Bound<'_>, asked: Asked<'_>) -> Option<String> {
    let head = format!("maximum {name} usage per {} is {max}", limit.name);
    let Some(ceiling) = asked.limits.get(name) else {
        return Some(format!("{head}.  No limit is specified"));
    };
    if *ceiling > max {
        return Some(format!("{head}, but limit is {ceiling}"));
    }
    let request = asked.requests.get(name).filter(|request| **request > max)?;
    Some(format!("{head}, but request is {request}"))
}

/// A request above the maximum, where limits mean nothing.
pub(super) fn request_above(
    limit: &Limit,
    (name, max): Bound<'_>,
    asked: Asked<'_>,
) -> Option<String> {
    let head = format!("maximum {name} usage per {} is {max}", limit.name);
    match asked.requests.get(name) {
        None => Some(format!("{head}.  No request is specified")),
        Some(request) if *request > max => Some(format!("{head}, but request is {request}")),
        Some(_) => None,
    }
}

/// A limit more than `ratio` times the request.
fn too_steep(limit: &Limit, (name, ratio): Bound<'_>, asked: Asked<'_>) -> Option<String> {
    let head = format!(
        "{name} max limit to request ratio per {} is {ratio}",
        limit.name
    );
    let given = |amounts: &Amounts| amounts.get(name).copied().filter(|q| !q.is_zero());
    let Some(request) = given(asked.requests) else {
        return Some(format!(
            "{head}, but no request is specified or request is 0"
        ));
    };
    let Some(ceiling) = given(asked.limits) else {
        return Some(format!("{head}, but no limit is specified or limit is 0"));
    };
    let observed = ceiling.as_f64() / request.as_f64();
    (observed > ratio.as_f64()).then(|| format!("{head}, but provided ratio is {observed:.6}"))
}
