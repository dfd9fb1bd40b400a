//! Groups that other parts of the program serve.

use crate::http::negotiate::{Include, Shape, Wanted};
use crate::http::query::Query;
use crate::http::respond::{self, Response};
use crate::http::route::ResourcePath;
use crate::resource::present;
use crate::server::ApiServer;
use http::Method;
use plimsoll_api::local::{LocalGroup, LocalRequest, LocalResource};
use plimsoll_api::meta;
use plimsoll_api::status::ApiError;
use serde_json::{Value, json};
use std::sync::Arc;

/// Answers a read of a local resource; `None` if the path names none.
pub(crate) async fn read(
    server: &ApiServer,
    path: &ResourcePath,
    (method, query): (&Method, &Query),
    wanted: &Wanted,
) -> Result<Option<Response>, ApiError> {
    if let Some(group) = open(server, path) {
        refuse_writes(path, method, query)?;
        let answer = group.read(request(path, query)).await?;
        return Ok(Some(respond::value(200, wanted, &answer)));
    }
    let Some((group, resource)) = find(server, path) else {
        return Ok(None);
    };
    if path.subresource.is_some() || (path.namespace.is_some() && !resource.namespaced) {
        return Err(ApiError::no_such_resource());
    }
    refuse_writes(path, method, query)?;
    let mut request = request(path, query);
    request.subresource = None;
    let answer = group.read(request).await?;
    let body = match &wanted.shape {
        Shape::Table(version, include) => table(server, &resource, answer, version, *include),
        Shape::Object | Shape::Metadata(_) | Shape::Discovery(_) => answer,
    };
    Ok(Some(respond::value(200, wanted, &body)))
}

fn request(path: &ResourcePath, query: &Query) -> LocalRequest {
    LocalRequest {
        resource: path.plural.clone(),
        namespace: path.namespace.clone(),
        name: path.name.clone(),
        subresource: path.subresource.clone(),
        label_selector: query.text("labelSelector").to_owned(),
        field_selector: query.text("fieldSelector").to_owned(),
        metric_label_selector: query.text("metricLabelSelector").to_owned(),
        parameters: query.pairs().to_vec(),
    }
}

fn refuse_writes(path: &ResourcePath, method: &Method, query: &Query) -> Result<(), ApiError> {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if reads && !path.watch && !query.flag("watch") {
        return Ok(());
    }
    Err(ApiError::method_not_allowed())
}

/// The group whose paths are all its own.
fn open(server: &ApiServer, path: &ResourcePath) -> Option<Arc<dyn LocalGroup>> {
    let locals = server.0.locals.read();
    let mut open = locals
        .iter()
        .filter(|l| l.is_open() && l.group() == path.group && l.version() == path.version);
    open.next().map(Arc::clone)
}

fn find(server: &ApiServer, path: &ResourcePath) -> Option<(Arc<dyn LocalGroup>, LocalResource)> {
    let locals = server.0.locals.read();
    locals.iter().find_map(|group| {
        let same = group.group() == path.group && group.version() == path.version;
        let resource = group
            .resources()
            .into_iter()
            .find(|r| r.plural == path.plural);
        resource
            .filter(|_| same)
            .map(|resource| (Arc::clone(group), resource))
    })
}

fn table(
    server: &ApiServer,
    resource: &LocalResource,
    mut answer: Value,
    version: &str,
    include: Include,
) -> Value {
    let now = server.now();
    let metadata = answer.get("metadata").cloned().unwrap_or_else(|| json!({}));
    let items = meta::as_object(&mut answer).shift_remove("items");
    let items = match items {
        Some(Value::Array(items)) => items,
        Some(_) | None => vec![answer],
    };
    let rows: Vec<Value> = items
        .into_iter()
        .map(|item| {
            let cells = (resource.cells)(&item, now);
            present::row(version, &cells, item, include)
        })
        .collect();
    present::table(
        version,
        &metadata,
        &present::columns(&resource.columns),
        &rows,
    )
}
