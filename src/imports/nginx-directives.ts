import type { Directive } from "./nginx-syntax.ts";

/** Says what to do about whatever serves files. */
export const OF_FILES = "Sluice serves no files: put a server for them behind it, and forward to that";
const OF_PROGRAMS = "Sluice forwards HTTP and gRPC alone: leave nginx before such a program, and forward to that";
const OF_CODE = "write it anew as a plug-in in TypeScript";
const OF_REQUESTS = "what is decided for each request is written as a plug-in";

/** What to do about directives that have no counterpart, or not one that can be made of them. */
export const LEFT_OUT: Readonly<Record<string, string>> = {
  if: OF_REQUESTS,
  map: OF_REQUESTS,
  geo: OF_REQUESTS,
  split_clients: OF_REQUESTS,
  set: OF_REQUESTS,
  try_files: OF_FILES,
  alias: OF_FILES,
  autoindex: OF_FILES,
  fastcgi_pass: OF_PROGRAMS,
  uwsgi_pass: OF_PROGRAMS,
  scgi_pass: OF_PROGRAMS,
  memcached_pass: OF_PROGRAMS,
  auth_basic: 'give callers keys; one may stand in a password: "identity": { "basic": true }',
  auth_basic_user_file: "give callers keys",
  auth_request: "ask by the route's authorize",
  auth_request_set: "name the fields in authorize.upstreamHeaders",
  auth_jwt: "declare the issuer in issuers",
  satisfy: "whoever calls has to satisfy all that a route asks for",
  error_page: "refusals are problem+json; what a backend answers goes on as it is",
  proxy_intercept_errors: "what a backend answers goes on as it is",
  proxy_redirect: "a Location goes on as the backend has written it",
  proxy_cookie_path: "cookies go on as the backend has written them",
  proxy_cookie_domain: "cookies go on as the backend has written them",
  proxy_method: OF_REQUESTS,
  proxy_set_body: OF_REQUESTS,
  proxy_ssl_verify: "https targets are always checked: for authorities of your own name the file in the upstream's tls.ca",
  proxy_ssl_trusted_certificate: "name the file in the upstream's tls.ca",
  proxy_ssl_certificate: "name the file in the upstream's tls.cert",
  proxy_ssl_certificate_key: "name the file in the upstream's tls.key",
  proxy_ssl_name: "set the upstream's tls.serverName",
  ssl_client_certificate: "name the file in server.tls.clientCertificates.ca",
  ssl_verify_client: "set server.tls.clientCertificates.require",
  sub_filter: "a plug-in's hook response may give another body",
  mirror: "requests go to one backend",
  expires: "set Cache-Control by the route's headers.response",
  limit_rate: "answers are not slowed down",
  valid_referers: OF_REQUESTS,
  limit_except: "give the route methods",
  secure_link: OF_REQUESTS,
  secure_link_secret: OF_REQUESTS,
  perl: OF_CODE,
  js_content: OF_CODE,
  js_import: OF_CODE,
  content_by_lua_block: OF_CODE,
  access_by_lua_block: OF_CODE,
  rewrite_by_lua_block: OF_CODE,
  header_filter_by_lua_block: OF_CODE,
  brotli: "set compress on the routes that need it",
  stub_status: "/metrics is always there",
  proxy_protocol: "see server.proxyProtocol",
  dav_methods: OF_FILES,
};

/** Directives that are carried over elsewhere, or say how nginx itself works. */
const SILENT =
  /^(http|server|location|upstream|include|listen|server_name|return|rewrite|proxy_pass|grpc_pass|proxy_(set|hide|pass)_header|grpc_set_header|add_header|allow|deny|client_max_body_size|limit_(req|conn)(_.*)?|set_real_ip_from|real_ip_.*|ssl_(certificate|certificate_key|protocols|ciphers|prefer.*|session.*|stapling.*|dhparam|ecdh_curve|trusted_certificate|buffer_size|early_data|conf_command|reject_handshake)|ssl|http2.*|http3.*|gzip.*|root|index|proxy_(read|send|connect)_timeout|grpc_(read|send|connect)_timeout|proxy_next_upstream.*|proxy_(http_version|buffer.*|busy.*|temp.*|max_temp.*|request_buffering|headers_hash.*|cache.*|ignore.*|no_cache|force_ranges|socket.*|ssl_(server_name|session.*|protocols|ciphers)|store.*|bind)|user|pid|worker_.*|events|error_log|access_log|log_format|log_not_found|log_subrequest|rewrite_log|sendfile.*|tcp_.*|types.*|default_type|keepalive.*|server_(tokens|names_hash.*)|charset.*|client_(body|header).*|large_client_header_buffers|send_timeout|lingering.*|reset_timedout_connection|multi_accept|use|resolver.*|load_module|thread_pool|open_file_cache.*|variables_hash.*|map_hash.*|aio|directio|output_buffers|postpone_output|recursive_error_pages|absolute_redirect|port_in_redirect|server_name_in_redirect|merge_slashes|msie.*|underscores_in_headers|ignore_invalid_headers|chunked_transfer_encoding|if_modified_since|etag|internal|daemon|master_process|env|pcre_jit|uninitialized_variable_warn|break|stream|mail|fastcgi_(temp.*|param|index|split.*|read.*|send.*|connect.*|buffer.*|busy.*|intercept.*|hide.*|ignore.*|keep.*)|uwsgi_(param|temp.*|read.*|buffer.*)|scgi_(param|temp.*|read.*|buffer.*)|js_path)$/;

export const isSilent = (name: string): boolean => SILENT.test(name);

/** The names of directives that keep callers out. */
const GUARDING =
  /^auth_(?!basic_user_file$|request_set$|jwt_|http|delay$|digest_|gss_|ldap_|pam_)|^(server_)?(access|rewrite)_by_lua|^(secure_link|secure_link_secret|limit_except|valid_referers|modsecurity|modsecurity_rules.*|SecRulesEnabled)$|^ldap_auth|oidc|openid|saml/i;

/** Tells whether a directive keeps callers out in a way that is not carried over: without it a route has to ask for a key. */
export function isGuard({ name, words, block }: Directive): boolean {
  if (name === "ssl_verify_client") return words[0] === "on";
  if (name === "if") return (block ?? []).some(refuses);
  return GUARDING.test(name) && words[0] !== "off";
}

/** Tells whether a directive, or one within it, refuses. */
const refuses = ({ name, words, block }: Directive): boolean =>
  (name === "return" && /^[45]\d\d$/.test(words[0] ?? "")) || name === "deny" || (block ?? []).some(refuses);
