//! What callers without details learn: the status of mapped names, and no other name.

use std::net::SocketAddr;

use crate::helpers::frames::{CHECK, EMPTY, GRPC, call, request};
use crate::helpers::grpc::{SERVICE_UNKNOWN, SERVING, client, serve, watch};
use http::Method;
use tower_health::{Access, Dependency, Health, Outcome, Probe, grpc::GrpcService};

const LIST: &str = "/grpc.health.v1.Health/List";
/// Every name that is to stay hidden begins with this.
const HIDDEN: &str = "zq-";

/// Requests for the dependency, the group and a name that nothing has.
const REQUESTS: [&[u8]; 3] = [
    b"\0\0\0\0\x0d\x0a\x0bzq-database",
    b"\0\0\0\0\x0a\x0a\x08zq-group",
    b"\0\0\0\0\x0c\x0a\x0azq-nothing",
];

fn service() -> GrpcService {
    let up = async || Ok(Outcome::up());
    Health::builder()
        .add(Dependency::new("zq-database", up).group("zq-group"))
        .group("zq-declared", ["zq-database"])
        .map_grpc_service("shop.v1.Orders", Probe::group("zq-group"))
        .build()
        .grpc_service()
}

/// All that comes back for `message`: head, body and trailers.
async fn answer(
    address: SocketAddr,
    path: &str,
    fields: &[(&str, &str)],
    message: &'static [u8],
) -> String {
    let fields = [&[GRPC], fields].concat();
    let found = call(
        address,
        request(Method::POST, path, &fields),
        &[message],
        true,
    )
    .await;
    let body = found.body.escape_ascii();
    format!("{:?} {body} {:?}", found.status(), found.trailers)
}

#[tokio::test]
async fn an_unauthorized_caller_learns_no_hidden_name() {
    type Row = (
        &'static str,
        GrpcService,
        &'static [(&'static str, &'static str)],
    );
    let table: [Row; 5] = [
        ("no details", service(), &[]),
        (
            "no details, with a token",
            service(),
            &[("authorization", "Bearer a-token")],
        ),
        (
            "loopback, through a proxy",
            service().details(Access::loopback()),
            &[("x-forwarded-for", "127.0.0.1")],
        ),
        (
            "a wrong token",
            service().details(Access::bearer(["a-token"])),
            &[("authorization", "Bearer another")],
        ),
        (
            "not allowed",
            service()
                .allow(Access::nobody())
                .details(Access::everybody()),
            &[],
        ),
    ];
    for (case, service, fields) in table {
        let address = serve(service).await;
        let list = answer(address, LIST, fields, EMPTY).await;
        assert!(!list.contains(HIDDEN), "{case}: {list}");
        let mut answers = Vec::new();
        for message in REQUESTS {
            answers.push(answer(address, CHECK, fields, message).await);
        }
        // The same whether it exists or not.
        assert_eq!(answers[0], answers[2], "{case}");
        assert_eq!(answers[1], answers[2], "{case}");
        assert!(!answers[0].contains(HIDDEN), "{case}: {}", answers[0]);
    }
}

#[tokio::test]
async fn an_authorized_caller_sees_every_name() {
    let address = serve(service().details(Access::bearer(["a-token"]))).await;
    let fields = [("authorization", "Bearer a-token")];
    let list = answer(address, LIST, &fields, EMPTY).await;
    for name in ["zq-database", "zq-group", "zq-declared", "shop.v1.Orders"] {
        assert!(list.contains(name), "{list}");
    }
    let check = answer(address, CHECK, &fields, REQUESTS[0]).await;
    assert!(check.starts_with("Some(\"0\")"), "{check}");
}

#[tokio::test]
async fn an_unauthorized_watch_of_a_hidden_name_is_unknown() {
    let mut client = client(serve(service()).await).await;
    for (name, expected) in [
        ("zq-database", SERVICE_UNKNOWN),
        ("zq-group", SERVICE_UNKNOWN),
        ("zq-nothing", SERVICE_UNKNOWN),
        ("shop.v1.Orders", SERVING),
        ("", SERVING),
    ] {
        let mut watch = watch(&mut client, name).await;
        assert_eq!(watch.next().await, Ok(expected), "{name:?}");
    }
}

/// Names that the caller may not see do not count against the limit of `List`.
#[tokio::test]
async fn hidden_names_do_not_exhaust_a_list() {
    let mut builder = Health::builder();
    for number in 0..150 {
        builder = builder.check(format!("zq-{number}"), async || Ok(Outcome::up()));
    }
    let address = serve(builder.build().grpc_service()).await;
    let list = answer(address, LIST, &[], EMPTY).await;
    assert!(list.starts_with("Some(\"0\")"), "{list}");
}
