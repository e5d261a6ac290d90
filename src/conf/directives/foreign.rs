//! Directives of other modules, family by family: what becomes of a location when they are not applied.
//!
//! A row tells names by pattern (`*` at either end), so that a module nobody has met yet is judged by the words modules of
//! its kind use. The longest pattern decides. It does not know where a directive stands; what follows from an effect is
//! the business of `conf::guard` and `conf::scope`.

/// What a directive does, as far as its absence goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Decides who comes in, or how often: without it everybody does.
    Guards,
    /// Guards where the directive named is on.
    GuardsWith(&'static str),
    /// Answers the requests of its location.
    Answers,
    /// Gives a variable its value.
    Gives,
    /// Touches what passes: headers, bodies, logs, counters; or tunes what another directive turns on.
    Touches,
}

/// Directives of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Patterns, separated by spaces.
    pub names: &'static str,
    /// What they do.
    pub effect: Effect,
    /// Whose they are, for docs/DIRECTIVES.md.
    pub whose: &'static str,
}

const fn family(effect: Effect, whose: &'static str, names: &'static str) -> Family {
    Family { names, effect, whose }
}

use Effect::{Answers, Gives, Guards, GuardsWith, Touches};

/// The families. Directives that pushstreamd applies are no business of this table.
pub const FAMILIES: &[Family] = &[
    family(
        Guards,
        "Lua: handlers of the access and rewrite phases, and of the TLS handshake",
        "access_by_lua* rewrite_by_lua* server_rewrite_by_lua* precontent_by_lua* ssl_client_hello_by_lua*",
    ),
    family(
        Touches,
        "Lua: filters, logs, what runs beside requests, tuning",
        "access_by_lua_no_postpone rewrite_by_lua_no_postpone precontent_by_lua_no_postpone header_filter_by_lua* \
         body_filter_by_lua* log_by_lua* init_by_lua* init_worker_by_lua* exit_worker_by_lua* balancer_by_lua* \
         ssl_certificate_by_lua* ssl_session_fetch_by_lua* ssl_session_store_by_lua* proxy_ssl_*_by_lua* lua_*",
    ),
    family(Gives, "Lua: variables", "set_by_lua*"),
    family(Answers, "Lua: content", "content_by_lua*"),
    family(Guards, "njs: the access handler", "js_access"),
    family(Gives, "njs and perl: variables", "js_set js_var perl_set"),
    family(Answers, "njs and perl: content", "js_content perl"),
    family(Touches, "njs and perl: everything else", "js_* perl_*"),
    family(Guards, "passwords, tokens, tickets and single sign-on by other modules", "auth_* *_auth"),
    family(
        Guards,
        "single sign-on by its names",
        "jwt_* oidc* openid* oauth* saml* shib_* cas_* sso* spnego* gss_* kerberos* keycloak* phantom_token* \
         accesskey* secure_link_* secure_token* secure_cookie* akamai_* access_token* token_auth* aws_auth*",
    ),
    family(
        Touches,
        "tuning of those, which does nothing alone",
        "auth_delay auth_jwt_key auth_jwt_key_* auth_jwt_leeway auth_jwt_type auth_jwt_algorithm auth_jwt_loginurl \
         auth_jwt_redirect auth_jwt_location auth_jwt_use_keyfile auth_jwt_keyfile_path auth_jwt_extract_* \
         auth_jwt_allow_* auth_jwt_phase auth_ldap_servers auth_ldap_servers_size auth_ldap_cache_* auth_ldap_resolver* \
         ldap_server auth_pam_service_name auth_pam_set_pam_env auth_digest_* auth_gss_* auth_spnego_* auth_radius_*",
    ),
    family(Gives, "variables of tokens", "auth_jwt_claim_set auth_jwt_header_set jwt_var_set"),
    family(
        Guards,
        "firewalls for applications",
        "modsecurity ModSecurityEnabled Sec* naxsi* waf waf_* ngx_waf* wallarm_mode app_protect_enable \
         app_protect_dos_enable coraza coraza_rules* crowdsec* testcookie roboo* cookie_guard* *captcha* bot_* \
         http_guard* dosdetector* evasive* blacklist* whitelist* ip_blacklist* block_* deny_* allow_* access_*",
    ),
    family(
        Touches,
        "tuning of those, which does nothing alone",
        "modsecurity_* ModSecurityConfig ModSecurityPass SecRulesDisabled MainRule BasicRule CheckRule DeniedUrl \
         LearningMode LibInjection* naxsi_*_log waf_*_log wallarm_* app_protect_* coraza_transaction_id testcookie_* oidc_provider \
         access_log_*",
    ),
    family(Guards, "limits of other modules", "limit_* dynamic_limit_* sysguard*"),
    family(
        Touches,
        "nginx: bandwidth, and what limits do in their logs",
        "limit_rate limit_rate_after limit_conn_dry_run limit_conn_log_level limit_req_dry_run limit_req_log_level",
    ),
    family(GuardsWith("ssl_verify_client"), "nginx: revoked client certificates", "ssl_crl ssl_ocsp"),
    family(Touches, "nginx: tuning of that", "ssl_ocsp_*"),
    family(
        Gives,
        "places, browsers and other variables",
        "geoip_* geoip2* ip2location* ip2proxy* maxmind* ipdb* set_* keyval keyval_* var_* eval eval_* calc* \
         encrypted_session* array_* iconv* form_input* user_agent",
    ),
    family(
        Touches,
        "variables only by name",
        "set_cookie_flag set_cookie_flag* geoip_proxy geoip_proxy_recursive geoip2_proxy geoip2_proxy_recursive",
    ),
    family(
        Answers,
        "content by other modules",
        "*_pass nchan_publisher nchan_subscriber nchan_pubsub nchan_stub_status echo echo_* fancyindex_only \
         rtmp_stat rtmp_control vhost_traffic_status_display *_status_display concat_only upload_pass memc_pass \
         empty_gif dav_pass",
    ),
    family(
        Touches,
        "headers",
        "more_* security_headers* hide_server_tokens cookie_flag* expires_by_types headers_* add_trailer* \
         add_header_inherit",
    ),
    family(
        Touches,
        "bodies and compression",
        "brotli* zstd* unbrotli* subs_* sub_filter* replace_filter* trim* footer* concat* pagespeed* length_hiding* \
         image_filter* xslt_* rds_* fancyindex* srcache_* slowfs_* cache_purge* video_* vod* hls_* ct_* \
         http_ct*",
    ),
    family(
        Touches,
        "statistics, traces and logs",
        "vhost_traffic_status* stream_server_traffic* req_status* sts_* status_* opentracing* otel_* opentelemetry* \
         zipkin* jaeger* datadog* newrelic* nr_* statsd* graphite* influxdb* prometheus* kafka_* log_* \
         track_uploads report_uploads upload_progress* *_log_*",
    ),
    family(
        Touches,
        "backends and processes",
        "passenger_* fair* check* upsync* consul* dyups* jvm_route sticky* health_check* upstream_* nchan_* rtmp_* \
         dav_ext_* dav_ext_methods upload_* memc_* redis_* redis2_* drizzle_* postgres_* xss_*",
    ),
];

/// The family of a name.
pub fn family_of(name: &str) -> Option<&'static Family> {
    let weight = |pattern: &str| (pattern.len() - pattern.matches('*').count(), !pattern.contains('*'));
    FAMILIES
        .iter()
        .flat_map(|family| family.names.split_ascii_whitespace().map(move |pattern| (family, pattern)))
        .filter(|(_, pattern)| matches(pattern, name))
        .max_by_key(|(_, pattern)| weight(pattern))
        .map(|(family, _)| family)
}

/// Whether `name` is of the pattern.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == name };
    let Some(rest) = name.strip_prefix(before) else { return false };
    match after.strip_suffix('*') {
        Some(within) => rest.contains(within),
        None => rest.ends_with(after),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(name: &str) -> Option<Effect> {
        family_of(name).map(|family| family.effect)
    }

    #[test]
    fn the_longest_pattern_decides() {
        for name in [
            "access_by_lua_block",
            "access_by_lua_file",
            "rewrite_by_lua",
            "server_rewrite_by_lua_block",
            "js_access",
            "auth_jwt",
            "auth_jwt_require",
            "auth_jwt_enabled",
            "auth_ldap",
            "auth_pam",
            "auth_digest",
            "auth_gss",
            "auth_nobody_has_met",
            "modsecurity",
            "ModSecurityEnabled",
            "SecRulesEnabled",
            "secure_link_hmac",
            "limit_upload_requests",
            "testcookie",
        ] {
            assert_eq!(effect(name), Some(Guards), "{name}");
        }
        for name in [
            "access_by_lua_no_postpone",
            "auth_delay",
            "auth_jwt_key_file",
            "auth_ldap_servers",
            "auth_pam_service_name",
            "auth_digest_user_file",
            "modsecurity_rules_file",
            "header_filter_by_lua_block",
            "log_by_lua_file",
            "more_set_headers",
            "brotli_types",
            "vhost_traffic_status_zone",
            "limit_rate",
            "set_cookie_flag",
            "oidc_provider",
        ] {
            assert_eq!(effect(name), Some(Touches), "{name}");
        }
        assert_eq!(effect("set_escape_uri"), Some(Gives));
        assert_eq!(effect("upload_pass"), Some(Answers));
        assert_eq!(effect("content_by_lua_file"), Some(Answers));
        assert_eq!(effect("make_coffee"), None);
    }

    #[test]
    fn no_pattern_stands_twice() {
        let mut seen = std::collections::HashSet::new();
        for pattern in FAMILIES.iter().flat_map(|family| family.names.split_ascii_whitespace()) {
            assert!(seen.insert(pattern), "{pattern}");
            assert!(!pattern.trim_matches('*').is_empty() && pattern.matches('*').count() <= 2, "{pattern}");
        }
    }
}
