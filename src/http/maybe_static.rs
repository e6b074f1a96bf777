/// `'static` with the feature `grpc`, and no bound at all without.
///
/// gRPC calls are answered where a body's type is one that can be read, which its `TypeId`
/// tells; other bodies pass through, and need not even be `http_body::Body`.
#[cfg(feature = "grpc")]
pub trait MaybeStatic: 'static {}
#[cfg(feature = "grpc")]
impl<T: 'static> MaybeStatic for T {}

/// `'static` with the feature `grpc`, and no bound at all without.
#[cfg(not(feature = "grpc"))]
pub trait MaybeStatic {}
#[cfg(not(feature = "grpc"))]
impl<T> MaybeStatic for T {}
