//! Sites with push locations in their one server: what is printed for them is done, and both halves serve.

use super::{Machine, PUB, SUB, TEMPORARY, WS, connected};
use crate::support::Socket;

/// Sites as their makers' handbooks have them, each with push locations in its one server.
const SITES: [&str; 4] = [
    "root @DIR@/www;
    try_files $uri/index.html $uri @app;
    location @app {
        proxy_pass http://127.0.0.1:1;
    }
    client_max_body_size 4G;
    keepalive_timeout 10;",
    "root @DIR@/www;
    index index.php index.html;
    location / {
        try_files $uri $uri/ /index.php?$query_string;
    }
    location ~ \\.php$ {
        fastcgi_split_path_info ^(.+\\.php)(/.+)$;
        fastcgi_pass 127.0.0.1:1;
        fastcgi_index index.php;
        fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
    }
    location ~ /\\.(?!well-known) {
        deny all;
    }
    location ~* \\.(?:css|js|png)$ {
        expires 30d;
        access_log off;
    }",
    "set $backend http://127.0.0.1:1;
    charset utf-8;
    add_header X-Frame-Options DENY always;
    error_page 502 503 504 = @down;
    if ($http_user_agent ~* \"(bot|crawler)\") {
        return 403;
    }
    location = /page.txt {
        root @DIR@/www;
    }
    location / {
        proxy_pass $backend;
        proxy_set_header Upgrade $http_upgrade;
        proxy_intercept_errors on;
    }
    location @down {
        return 503;
    }",
    "rewrite ^/old/(.*)$ /$1 permanent;
    root @DIR@/www;
    etag off;
    gzip on;
    gzip_types text/plain application/json;
    location /static {
        alias @DIR@/www/;
        limit_except GET {
            deny all;
        }
    }
    location ^~ /private {
        internal;
        auth_basic \"closed\";
        auth_basic_user_file @DIR@/etc/users;
    }",
];

#[test]
fn sites_of_all_kinds_are_divided() {
    for (number, site) in SITES.iter().enumerate() {
        let mut machine = Machine::new(&format!("migrate-site-{number}"));
        machine.write(
            "etc/nginx.conf",
            &format!(
                "pid @DIR@/run/nginx.pid;\nerror_log @DIR@/log/error.log;\nevents {{\n}}\nhttp {{\n{TEMPORARY}\naccess_log off;
push_stream_shared_memory_size 32m;\nserver {{\n    listen 127.0.0.1:@PORT@;\n    {site}\n{SUB}\n{PUB}\n{WS}\n}}\n}}\n"
            ),
        );
        machine.divide("etc/nginx.conf");
        machine.assert_whole(&[machine.prefix.port]);
        Socket::open(connected(machine.prefix.port), "/ws/a", b"");
    }
}
