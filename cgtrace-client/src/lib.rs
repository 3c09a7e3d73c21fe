//! Ask cgtrace: wire types and a blocking client.
