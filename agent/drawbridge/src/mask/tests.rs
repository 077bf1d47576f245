#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;

use super::*;

/// A path, the file's text, the secrets planted in it, and what must stay readable.
pub(crate) type Case = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);

pub(crate) const CASES: &[Case] = &[
    (
        "/conf/config.xml",
        "<?xml version=\"1.0\"?>\n<opnsense>\n  <system>\n    <hostname>fw</hostname>\n    <user>\n      <name>root</name>\n      <password>$2y$10$abcdefghijklmnopqrstuuAbCdEf</password>\n      <otp_seed>JBSWY3DPEHPK3PXP</otp_seed>\n      <apikeys><item><key>kEy/abc+def12345</key><secret>$6$$zyxwvut1</secret></item></apikeys>\n      <authorizedkeys/>\n    </user>\n    <ssh><passwordauth>1</passwordauth></ssh>\n  </system>\n  <cert><descr>web</descr><crt>TElLRUEgQ0VSVA==</crt>\n    <prv>\n      TElLRUEgS0VZMQ==\n      TElLRUEgS0VZMg==\n    </prv></cert>\n  <ipsec><phase1><pre-shared-key>tr0ub4dor</pre-shared-key></phase1></ipsec>\n  <ldap_bindpw><![CDATA[b<nd&pw]]></ldap_bindpw>\n  <snmpd><rocommunity>0ffsite</rocommunity></snmpd>\n  <dns ddnsdomainkey=\"dd4ns+key\" enable=\"1\"/>\n</opnsense>\n",
        &["$2y$10", "JBSWY3", "kEy/abc", "zyxwvut1", "TElLRUEg", "tr0ub4dor", "b<nd", "0ffsite", "dd4ns"],
        &[
            "<hostname>fw</hostname>",
            "<name>root</name>",
            "<passwordauth>1</passwordauth>",
            "<descr>web</descr>",
            "enable=\"1\"",
        ],
    ),
    (
        "/etc/shadow",
        "root:$6$salt$hashhashhash:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\nold:!abDESxyz12345:1::::::\n",
        &["$6$salt", "hashhash", "abDESxyz"],
        &["daemon:*:19000:0:99999:7:::", ":19000:0:99999:7:::"],
    ),
    ("/etc/nginx/.htpasswd", "web:{SHA}W6ph5Mm5Pz8=\nalice:abXYZdes123\n", &["W6ph5", "abXYZ"], &["alice:", "web:"]),
    (
        "/etc/ppp/chap-secrets",
        "# client server secret IP\nbob * \"open sesame\" 10.0.0.1\n",
        &["sesame"],
        &["# client server secret IP", "bob *"],
    ),
    (
        "/etc/ipsec.secrets",
        "@fw 10.0.0.2 : PSK \"s p a c e d\"\n: RSA fw.key \"pazz\"\n",
        &["s p a", "pazz"],
        &["@fw 10.0.0.2 :"],
    ),
    ("/root/.pgpass", "db:5432:app:joe:colon:s3cr3t\n", &["s3cr3t", "colon"], &["db:5432:app:joe:"]),
    (
        "/root/.netrc",
        "machine h login joe password hunter22\nmachine k\n  login x\n  password hunter23\n",
        &["hunter2"],
        &["machine h login joe", "login x"],
    ),
    (
        "/etc/wireguard/wg0.conf",
        "[Interface]\nPrivateKey = /ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghij0123456=\nListenPort = 51820\n\n[Peer]\nPublicKey = pubpubpubpubpubpubpubpubpubpubpubpubpubpub0=\nPresharedKey=zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz0=\nAllowedIPs = 10.0.0.0/24\n",
        &["ABCDEFGH", "zzzzzz"],
        &["ListenPort = 51820", "pubpubpub", "AllowedIPs = 10.0.0.0/24"],
    ),
    (
        "/etc/wpa_supplicant/wpa_supplicant.conf",
        "network={\n\tssid=\"home\"\n\tpsk=\"wifi password 1\"\n\t#psk=\"the old one\"\n\twep_key0=1234567890\n\tsae_password=sae#pw;x\n}\n",
        &["wifi password", "old one", "1234567890", "sae#pw", ";x"],
        &["ssid=\"home\"", "#psk="],
    ),
    (
        "/etc/snmp/snmpd.conf",
        "rocommunity s3cr3tro 10.0.0.0/8\ncom2sec readonly default c0mm\ncreateUser boot MD5 \"auth pass\" DES privpass\ntrap2sink 10.0.0.9 trapcomm\nsysLocation here\n",
        &["s3cr3tro", "c0mm", "auth pass", "privpass", "trapcomm"],
        &["sysLocation here", "com2sec readonly default", "createUser boot"],
    ),
    (
        "/etc/monitrc",
        "set httpd port 2812\n  allow localhost\n  allow 10.0.0.0/255.0.0.0\n  allow admin:monitpw\nset mailserver smtp.example.com port 587\n  username \"joe\" password \"mail pw\" using tls\n",
        &["monitpw", "mail pw"],
        &["allow localhost", "allow 10.0.0.0/255.0.0.0", "allow admin:", "username \"joe\" password \"", "using tls"],
    ),
    (
        "/etc/ssh/sshd_config",
        "# To disable tunneled clear text passwords, change to no here!\nPasswordAuthentication no\nPermitEmptyPasswords no\nPermitRootLogin prohibit-password\nHostKey /etc/ssh/ssh_host_ed25519_key\nAuthorizedKeysFile .ssh/authorized_keys\n",
        &[],
        &[
            "# To disable tunneled clear text passwords, change to no here!\n",
            "PasswordAuthentication no\n",
            "PermitEmptyPasswords no\n",
            "PermitRootLogin prohibit-password\n",
            "HostKey /etc/ssh/ssh_host_ed25519_key\n",
        ],
    ),
    (
        "/etc/pam.d/common-password",
        "password\t[success=1 default=ignore]\tpam_unix.so obscure use_authtok\npassword requisite pam_deny.so\n",
        &[],
        &[
            "password\t[success=1 default=ignore]\tpam_unix.so obscure use_authtok\n",
            "password requisite pam_deny.so\n",
        ],
    ),
    ("/etc/nsswitch.conf", "passwd:         files systemd\n", &[], &["passwd:         files systemd\n"]),
    (
        "/etc/sudoers",
        "%wheel ALL=(ALL) NOPASSWD: ALL\nDefaults passwd_timeout=5\n",
        &[],
        &["NOPASSWD: ALL", "passwd_timeout=5"],
    ),
    (
        "/etc/login.defs",
        "PASS_MAX_DAYS\t99999\nPASS_MIN_LEN 5\nENCRYPT_METHOD SHA512\n",
        &[],
        &["PASS_MAX_DAYS\t99999", "PASS_MIN_LEN 5"],
    ),
    (
        "/etc/pf.conf",
        "block all\npass in quick on em0 proto tcp from any to any port 22\npass out all\n",
        &[],
        &["pass in quick on em0 proto tcp", "pass out all"],
    ),
    (
        "/etc/samba/smb.conf",
        "[global]\n  encrypt passwords = yes\n  passdb backend = tdbsam\n  passwd program = /usr/bin/passwd %u\n  unix password sync = yes\n  ldap admin password = my long one\n",
        &["my long"],
        &["encrypt passwords = yes", "passwd program = /usr/bin/passwd %u", "unix password sync = yes"],
    ),
    (
        "/var/log/auth.log",
        "Nov 1 sshd[1]: Failed password for root from 10.0.0.1 port 5\nNov 1 sshd[1]: Accepted password for joe\nNov 1 app: login token=abc123def456 ok\nNov 1 app: GET https://u:pw77@host/x\n",
        &["abc123def", "pw77"],
        &["Failed password for root from 10.0.0.1 port 5", "Accepted password for joe", "https://u:", "@host/x"],
    ),
    (
        "/opt/app/config.yaml",
        "db:\n  host: db1\n  password: two words # note\n  url: postgres://joe:p@ss:w0rd@db1/app\napi:\n  token: |\n    line one\n    line two\n  timeout: 5\nsecrets:\n  one: aaaa1111\n  two: 'bbbb2222'\nlist_of_tokens:\n  - cccc3333\n  - dddd4444\nenv:\n  - name: SMTP_PASSWORD\n    value: eeee5555\n  - name: SMTP_HOST\n    value: mail.example.com\npassword_file: /run/secrets/pw\nref: ${DB_PASSWORD}\nplain_password: ffff6666\n  gggg7777\nafter: fine\n",
        &[
            "two words",
            "p@ss",
            "w0rd",
            "line one",
            "line two",
            "aaaa1111",
            "bbbb2222",
            "cccc3333",
            "dddd4444",
            "eeee5555",
            "ffff6666",
            "gggg7777",
        ],
        &[
            "  host: db1",
            "postgres://joe:",
            "  timeout: 5",
            "value: mail.example.com",
            "password_file: /run/secrets/pw",
            "ref: ${DB_PASSWORD}",
            "after: fine",
        ],
    ),
    (
        "/opt/app/settings.json",
        "{\n  \"user\": \"joe\", \"password\": \"a\\\"b,c\", \"port\": 25,\n  \"apiKeys\": [\n    \"first1\",\n    \"second2\"\n  ],\n  \"nested\": {\"clientSecret\":\"min1fied\",\"x\":1},\n  \"pin\": 9876,\n  \"text\": \"{\\\"token\\\":\\\"esc4ped\\\",\\\"ok\\\":true}\",\n  \"auth\": \"dXNlcjpwYXNzMQ==\",\n  \"last\": true\n}\n",
        &["a\\\"b,c", "first1", "second2", "min1fied", "9876", "esc4ped", "dXNlcj"],
        &["\"user\": \"joe\"", "\"port\": 25", "\"x\":1", "\\\"ok\\\":true", "\"last\": true"],
    ),
    (
        "/opt/app/app.toml",
        "[server]\nbind = \"0.0.0.0\"\nsecret = \"\"\"\nmulti\nline\n\"\"\"\ntokens = [\n  \"tok1\",\n  \"tok2\",\n]\n[secrets]\nanything = \"inside\"\n[other]\nname = \"fine\"\n",
        &["multi", "tok1", "tok2", "inside"],
        &["bind = \"0.0.0.0\"", "name = \"fine\""],
    ),
    (
        "/etc/profile.d/app.sh",
        "export DB_PASSWORD='it''s me'\nexport API_TOKEN=abc\\ def\nAWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG\naws configure set aws_access_key_id AKIAIOSFODNN7EXAMPLE\ncurl -u joe:curlpw https://example.com\ncurl -H 'Authorization: Bearer abc.def' -H \"X-Api-Key: k3y\" https://example.com/\nmysql -u root -phunter2 db\nmount -o username=joe,password=cifspw //h/s /mnt\nsmbclient -U joe%smbpw //h/s\necho done\n",
        &["it''s", "abc\\ def", "wJalr", "AKIAIOSF", "curlpw", "abc.def", "k3y", "hunter2", "cifspw", "smbpw"],
        &["export DB_PASSWORD=", "curl -u joe:", "echo done", "username=joe"],
    ),
    (
        "/etc/systemd/system/app.service",
        "[Service]\nEnvironment=\"DB_PASSWORD=with space\" MODE=x\nExecStart=/usr/bin/app --token tok3n --port 80\nUser=app\n",
        &["with space", "tok3n"],
        &["ExecStart=/usr/bin/app --token", "User=app", "MODE=x"],
    ),
    (
        "/etc/ssl/private/site.pem",
        "before\n-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\nqwertyuiop\n-----END RSA PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----\nMIIpublic\n-----END CERTIFICATE-----\n",
        &["MIIEow", "qwertyuiop"],
        &["before", "-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----", "MIIpublic"],
    ),
    (
        "/etc/openvpn/ta.key",
        "-----BEGIN OpenVPN Static key V1-----\n6acef03f62675b4b\n-----END OpenVPN Static key V1-----\n",
        &["6acef03f"],
        &["Static key V1"],
    ),
    ("/root/cut.pem", "-----BEGIN PRIVATE KEY-----\nMIIcutoff\nnever closed", &["MIIcutoff", "never closed"], &[]),
    (
        "/root/putty.ppk",
        "PuTTY-User-Key-File-3: ssh-ed25519\nPublic-Lines: 1\nAAAApublic\nPrivate-Lines: 2\nAAAAsecret1\nAAAAsecret2\nComment: mine\n",
        &["AAAAsecret1", "AAAAsecret2"],
        &["AAAApublic", "Comment: mine"],
    ),
    (
        "/etc/raddb/users",
        "bob Cleartext-Password := \"hello1\"\n\tReply-Message = \"Hello\"\nclient 10.0.0.1 {\n\tsecret = testing123\n}\n",
        &["hello1", "testing123"],
        &["Reply-Message = \"Hello\""],
    ),
    (
        "/tftpboot/switch.cfg",
        "hostname sw1\nenable secret 5 $1$mERr$hx5rVt7rPNoS4wqbXKX7m0\nusername admin privilege 15 password 7 0822455D0A16\nsnmp-server community c1sc0 RO\nneighbor 10.0.0.1 password bgppw\n ip ospf message-digest-key 1 md5 ospfpw\n",
        &["hx5rVt", "0822455D", "c1sc0", "bgppw", "ospfpw"],
        &["hostname sw1", "username admin privilege 15", "neighbor 10.0.0.1"],
    ),
    (
        "/etc/redis.conf",
        "port 6379\nrequirepass foobared\n#requirepass oldfoo\nmasterauth m4ster\n# requirepass must be set for remote use\n",
        &["foobared", "oldfoo", "m4ster"],
        &["port 6379", "# requirepass must be set for remote use"],
    ),
    (
        "/etc/bind/named.conf",
        "key \"rndc-key\" {\n  algorithm hmac-sha256;\n  secret \"c2VjcmV0MTIz\";\n};\n",
        &["c2Vj"],
        &["algorithm hmac-sha256;"],
    ),
    (
        "/etc/nginx/site.conf",
        "proxy_pass http://backend:8080/;\nproxy_set_header Authorization \"Basic dXNlcjpwYXNz\";\nauth_basic_user_file /etc/nginx/.htpasswd;\n",
        &["dXNl"],
        &["proxy_pass http://backend:8080/;", "auth_basic_user_file /etc/nginx/.htpasswd;"],
    ),
    (
        "/srv/wp-config.php",
        "define('DB_PASSWORD', 'wp pw');\n$config['password'] = 'arr4y';\n$cfg->setPassword(\"c4ll\");\ndefine('DB_HOST', 'db');\n",
        &["wp pw", "arr4y", "c4ll"],
        &["define('DB_HOST', 'db');"],
    ),
    (
        "/etc/tomcat/context.xml",
        "<Resource name=\"jdbc/x\" username=\"joe\" password=\"att r\" />\n<property name=\"db.password\" value=\"pr0p\"/>\n<entry key=\"password\">ent&amp;ry</entry>\n",
        &["att r", "pr0p", "ent&"],
        &["username=\"joe\""],
    ),
    (
        "/k8s/secret.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: app\ndata:\n  user: YWRtaW4=\n  other: b3RoZXI=\ntype: Opaque\n",
        &["YWRt", "b3Ro"],
        &["  name: app", "type: Opaque"],
    ),
    ("/root/bin/job", "API_TOKEN=first1\\\nsecond2\\\nthird3\nPORT=1\n", &["first1", "second2", "third3"], &["PORT=1"]),
    ("/root/vpn-password.txt", "joe\nhunter2\n", &["hunter2"], &[]),
    ("/root/vpn.password", "joe\nhunter2\n", &["hunter2"], &[]),
    (
        "/etc/dnsmasq.conf",
        "domain-needed\n# Never forward plain names\ndhcp-range=192.168.0.50,192.168.0.150,12h\ndhcp-host=aa:bb:cc:dd:ee:ff,desk,192.168.0.60\nserver=/lan/10.0.0.1\n",
        &[],
        &[
            "domain-needed\n# Never forward plain names\ndhcp-range=192.168.0.50,192.168.0.150,12h\ndhcp-host=aa:bb:cc:dd:ee:ff,desk,192.168.0.60\nserver=/lan/10.0.0.1\n",
        ],
    ),
    (
        "/etc/rsyslog.d/db.conf",
        ":ommysql:db,syslog,writer,r5ys\naction(type=\"ommysql\" server=\"db\" uid=\"u\" pwd=\"r5ys2\")\nauth,authpriv.* /var/log/auth.log\n",
        &["r5ys"],
        &["uid=\"u\"", "auth,authpriv.* /var/log/auth.log"],
    ),
];

#[test]
fn no_planted_secret_survives_and_what_is_none_stays_readable() {
    let mut wrong = Vec::new();
    for (path, text, secrets, readable) in CASES {
        let masked = mask(text, Path::new(path));
        for secret in *secrets {
            assert!(text.contains(secret), "{path}: {secret} isn't planted");
            if masked.contains(secret) {
                wrong.push(format!("{path} shows {secret}:\n{masked}"));
            }
        }
        for part in *readable {
            if !masked.contains(part) {
                wrong.push(format!("{path} hides {part}:\n{masked}"));
            }
        }
        assert_eq!(masked.lines().count(), text.lines().count(), "{path}: lines stay lines");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn equal_secrets_get_equal_tags_and_changed_ones_others() {
    let mut masker = Masker::default();
    let path = Path::new("/etc/app.conf");
    assert_eq!(masker.mask("password = one\ntoken = two\n", path), "password = ‹masked 1›\ntoken = ‹masked 2›\n");
    assert_eq!(masker.mask("password = two\ntoken = three\n", path), "password = ‹masked 2›\ntoken = ‹masked 3›\n");
}

#[test]
fn a_masker_shows_no_secret_by_debug() {
    let mut masker = Masker::default();
    let _masked = masker.mask("password = hunter2", Path::new("/x"));
    assert!(!format!("{masker:?}").contains("hunter2"));
}

#[test]
fn text_without_secrets_is_not_copied() {
    assert!(matches!(mask("port = 1\n", Path::new("/etc/app.conf")), Cow::Borrowed(_)));
}

/// Looking ahead from every place would take hours on these; a test that takes as long has failed.
#[test]
fn a_text_that_is_made_to_be_slow_is_masked_all_the_same() {
    let patterns = [
        "://",
        "<a \"",
        "<password>",
        "<key>",
        "<key> ",
        "password ",
        "key=",
        "key='",
        "-----BEGIN PRIVATE KEY-----",
        "Private-Lines: 9\n",
        "token {",
        "a ",
        "name=",
        "<x name=\"password\"",
        "password=\"\" ",
        "pass: [",
        "secret\n  ",
        "user:pass@",
        "mysql ",
        "a:b:",
    ];
    for pattern in patterns {
        let text = pattern.repeat(256 * 1024 / pattern.len());
        let masked = mask(&text, Path::new("/etc/shadow"));
        assert_eq!(masked.matches('\n').count(), text.matches('\n').count(), "{pattern}");
    }
}

#[test]
fn many_elements_that_are_never_closed_hide_what_follows_and_a_few_do_not() {
    let of = |count: usize| format!("usage: {}\nlast line\n", "login <password> ".repeat(count));
    assert!(mask(&of(64), Path::new("/etc/x")).contains("last line"));
    assert!(!mask(&of(65), Path::new("/etc/x")).contains("last line"));
}

#[test]
fn the_login_of_a_url_is_found_up_to_two_kibibytes_into_it() {
    let of = |length: usize| format!("x http://joe:{}@host/\n", "p".repeat(length));
    let masked = |length| mask(&of(length), Path::new("/etc/x")).contains("masked");
    assert!(masked(2043) && !masked(2048));
}

/// Templates with `@` where a secret stands, each as its format quotes it.
const TEMPLATES: &[(&str, &str)] = &[
    ("/etc/app.ini", "[db]\nuser = joe\npassword = @\nport = 1\n"),
    ("/etc/app.conf", "requirepass @\n"),
    ("/etc/app.yaml", "db:\n  user: joe\n  password: @\n  port: 1\n"),
    ("/etc/app.yaml", "db:\n  api_token: '@'\n"),
    ("/etc/app.yaml", "secret: |\n  @\n  @\nafter: 1\n"),
    ("/etc/app.yaml", "tokens:\n- @\n- @\n"),
    ("/etc/app.json", "{\"user\":\"joe\",\"password\":\"@\",\"port\":1}"),
    ("/etc/app.json", "{\"text\":\"{\\\"secret\\\":\\\"@\\\"}\"}"),
    ("/etc/app.toml", "[db]\npassword = \"@\" # note\n"),
    ("/etc/app.toml", "tokens = [\n  \"@\",\n  \"@\"\n]\n"),
    ("/conf/config.xml", "<opnsense><user><password>@</password></user>\n<prv>\n@\n@\n</prv><x psk=\"@\"/></opnsense>"),
    ("/etc/profile", "export DB_PASS=@\nexport API_KEY='@'\n"),
    ("/etc/shadow", "root:@:19000:0:99999:7:::\n"),
    ("/etc/.htpasswd", "joe:@\n"),
    ("/etc/ppp/chap-secrets", "joe * @ *\n"),
    ("/etc/wg.conf", "PrivateKey = @\nPresharedKey=@\n"),
    ("/etc/x.pem", "-----BEGIN PRIVATE KEY-----\n@\n@\n-----END PRIVATE KEY-----\n"),
    ("/etc/url.conf", "backend = postgres://joe:@@db/app\n"),
    ("/etc/snmp/snmpd.conf", "rocommunity @ 10.0.0.0/8\n"),
    ("/etc/monitrc", "set mailserver h username \"u\" password \"@\"\nallow admin:@\n"),
    ("/etc/headers", "Authorization: Bearer @\nX-Api-Key: @\n"),
    ("/var/log/app.log", "login ok token=@ from 10.0.0.1\n"),
    ("/etc/wpa.conf", "network={\n  psk=\"@\"\n}\n"),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_planted_secret_never_appears(which in 0..TEMPLATES.len(), secret in "[A-Za-z0-9+/!%^*_.~-]{8,40}={0,2}") {
        // What begins like a folder of the system is taken for a file's name, see `value::is_harmless`.
        let (path, template) = TEMPLATES.get(which).copied().unwrap_or_default();
        let url = template.contains("://");
        let secret = if url { secret.replace('/', "%2F") } else { secret };
        let text = if url { template.replacen('@', &secret, 1) } else { template.replace('@', &secret) };
        let masked = mask(&text, Path::new(path));
        prop_assert!(!masked.contains(&secret), "{masked}");
        // Nor any half of it.
        let half: String = secret.chars().take(7).collect();
        let end: String = secret.chars().skip(secret.len() - 7).collect();
        prop_assert!(!masked.contains(&half) && !masked.contains(&end), "{masked}");
    }

    #[test]
    fn any_text_is_masked_without_losing_lines(text in "(?s)[a-z<>/='\":{}\\[\\]\\\\|\n \\-#äpasword]{0,200}") {
        let masked = mask(&text, Path::new("/etc/x"));
        prop_assert_eq!(masked.matches('\n').count(), text.matches('\n').count());
    }
}
