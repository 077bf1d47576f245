//! The library's client accepts whatever channel a server opens; this refuses them all.

/// In an `impl client::Handler` whose error is the argument: refuses every channel that a server opens. Each of the methods drops its
/// reply handle, which refuses. (Channels of unknown types the library refuses by itself.)
#[macro_export]
macro_rules! refuse_server_channels {
    ($error:ty) => {
        $crate::refuse_server_channels! { $error:
            server_channel_open_forwarded_tcpip(&str, u32, &str, u32);
            server_channel_open_forwarded_streamlocal(&str);
            server_channel_open_agent_forward();
            server_channel_open_session();
            server_channel_open_direct_tcpip(&str, u32, &str, u32);
            server_channel_open_direct_streamlocal(&str);
            server_channel_open_x11(&str, u32);
        }
    };
    ($error:ty: $($channel:ident($($argument:ty),*);)*) => {$(
        async fn $channel(
            &mut self,
            _: ::russh::Channel<::russh::client::Msg>,
            $(_: $argument,)*
            _: ::russh::client::ChannelOpenHandle,
            _: &mut ::russh::client::Session,
        ) -> Result<(), $error> {
            Ok(())
        }
    )*};
}
