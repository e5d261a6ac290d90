// The configuration of the wire tests: every mode with values that make waiting short.

export const TEXT = `
daemon off;
worker_processes 1;
error_log stderr notice;
pid pushstreamd.pid;
events { worker_connections 1024; }
http {
    default_type text/plain;
    access_log off;
    push_stream_shared_memory_size 32m;
    push_stream_max_channel_id_length 20;
    push_stream_max_messages_stored_per_channel 5;

    server {
        listen 127.0.0.1:9080;
        client_max_body_size 10k;

        location /pub {
            push_stream_publisher normal;
            push_stream_channels_path $arg_id;
            push_stream_store_messages on;
        }
        location /admin {
            push_stream_publisher admin;
            push_stream_channels_path $arg_id;
            push_stream_store_messages on;
            push_stream_allowed_origins "*";
        }
        location /quiet {
            push_stream_publisher;
            push_stream_channels_path $arg_id;
            push_stream_channel_info_on_publish off;
        }
        location /stats {
            push_stream_channels_statistics;
            push_stream_channels_path $arg_id;
        }
        location ~ ^/sub/(.*) {
            push_stream_subscriber streaming;
            push_stream_channels_path $1;
            push_stream_header_template "HEAD ~id~|";
            push_stream_message_template "[~id~:~channel~:~text~:~size~:~event-id~:~event-type~]";
            push_stream_footer_template "|FOOT";
            push_stream_allowed_origins "*";
        }
        location ~ ^/short/(.*) {
            push_stream_subscriber streaming;
            push_stream_channels_path $1;
            push_stream_header_template "H";
            push_stream_footer_template "F";
            push_stream_ping_message_interval 200ms;
            push_stream_subscriber_connection_ttl 500ms;
        }
        location ~ ^/poll/(.*) {
            push_stream_subscriber polling;
            push_stream_channels_path $1;
            push_stream_message_template "<~text~>";
        }
        location ~ ^/lp/(.*) {
            push_stream_subscriber long-polling;
            push_stream_channels_path $1;
            push_stream_message_template "<~text~>";
            push_stream_longpolling_connection_ttl 700ms;
            push_stream_allowed_origins "*";
        }
        location ~ ^/ev/(.*) {
            push_stream_subscriber eventsource;
            push_stream_channels_path $1;
        }
        location ~ ^/known/(.*) {
            push_stream_subscriber polling;
            push_stream_channels_path $1;
            push_stream_authorized_channels_only on;
        }
        location ~ ^/ws/(.*) {
            push_stream_subscriber websocket;
            push_stream_channels_path $1;
            push_stream_header_template "HEAD";
            push_stream_footer_template "FOOT";
            push_stream_message_template "<~id~ ~text~>";
        }
    }
}
`;
