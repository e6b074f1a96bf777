//! What callers without details learn: the status of mapped names, and no other name.

use tonic::{
    Code, IntoRequest, Request,
    metadata::{MetadataKey, MetadataValue},
};
use tower_health::{Access, Dependency, Health, Outcome, Probe, grpc::GrpcService};

use crate::helpers::grpc::{
    HealthListRequest, SERVICE_UNKNOWN, SERVING, ask, channel, check, client, list_with, serve,
    soon, watch,
};

type Metadata = &'static [(&'static str, &'static str)];

fn service() -> GrpcService {
    let up = async || Ok(Outcome::up());
    Health::builder()
        .add(Dependency::new("database", up).group("storage"))
        .group("declared", ["database"])
        .map_grpc_service("shop.v1.Orders", Probe::group("storage"))
        .build()
        .grpc_service()
}

fn with<T>(metadata: Metadata, message: impl IntoRequest<T>) -> Request<T> {
    let mut request = message.into_request();
    for (key, value) in metadata {
        let key = MetadataKey::from_static(key);
        request
            .metadata_mut()
            .insert(key, MetadataValue::from_static(value));
    }
    request
}

const TOKEN: Metadata = &[("authorization", "Bearer a-token")];

#[tokio::test]
async fn names_are_shown_to_authorized_callers_only() {
    type Row = (&'static str, GrpcService, Metadata, bool);
    let table: [Row; 5] = [
        ("no details, a token", service(), TOKEN, false),
        (
            "loopback, through a proxy",
            service().details(Access::loopback()),
            &[("x-forwarded-for", "127.0.0.1")],
            false,
        ),
        (
            "a wrong token",
            service().details(Access::bearer(["a-token"])),
            &[("authorization", "Bearer another")],
            false,
        ),
        (
            "the token",
            service().details(Access::bearer(["a-token"])),
            TOKEN,
            true,
        ),
        (
            "loopback",
            service().details(Access::loopback()),
            &[("user-agent", "prober")],
            true,
        ),
    ];
    for (case, service, metadata, is_authorized) in table {
        let address = serve(service).await;
        let request = with(metadata, HealthListRequest {});
        let listed = list_with(channel(address).await, request).await;
        let names: Vec<_> = listed.expect("a list").into_keys().collect();
        if is_authorized {
            let all = ["", "database", "declared", "shop.v1.Orders", "storage"];
            assert_eq!(names, all, "{case}");
        } else {
            assert_eq!(names, ["", "shop.v1.Orders"], "{case}");
        }
        let mut client = client(address).await;
        let mut found = Vec::new();
        for name in ["database", "storage", "unregistered"] {
            let answer = soon(client.check(with(metadata, ask(name)))).await;
            found.push(match answer {
                Ok(response) => Ok(response.into_inner().status),
                Err(status) => Err((status.code(), status.message().to_owned())),
            });
        }
        if is_authorized {
            assert_eq!(found[..2], [Ok(SERVING), Ok(SERVING)], "{case}");
        } else {
            // The same whether the name exists or not.
            assert_eq!((&found[0], &found[1]), (&found[2], &found[2]), "{case}");
        }
        let code = found[2].as_ref().map_err(|(code, _)| *code);
        assert_eq!(code, Err(Code::NotFound), "{case}");
    }
}

#[tokio::test]
async fn an_unauthorized_watch_of_a_hidden_name_is_unknown() {
    let mut client = client(serve(service()).await).await;
    for (name, expected) in [
        ("database", SERVICE_UNKNOWN),
        ("storage", SERVICE_UNKNOWN),
        ("unregistered", SERVICE_UNKNOWN),
        ("shop.v1.Orders", SERVING),
        ("", SERVING),
    ] {
        let mut watch = watch(&mut client, name).await;
        assert_eq!(watch.next().await, Ok(expected), "{name:?}");
    }
}

#[tokio::test]
async fn a_caller_that_is_not_allowed_is_denied() {
    let service = service().allow(Access::nobody());
    let address = serve(service.details(Access::everybody())).await;
    let mut client = client(address).await;
    let denied = Code::PermissionDenied;
    for name in ["", "database", "unregistered"] {
        assert_eq!(check(&mut client, name).await, Err(denied), "{name:?}");
        let refused = soon(client.watch(ask(name))).await.expect_err("refused");
        assert_eq!(refused.code(), denied, "{name:?}");
    }
    let listed = list_with(channel(address).await, HealthListRequest {}).await;
    assert_eq!(listed, Err(denied));
}
