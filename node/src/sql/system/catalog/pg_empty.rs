//! Tables of pg_catalog that hold a few fixed rows, and those that clients look into for what there is not here.

use grantd_raft::rows::Value;

use super::{Computed, Empty, Of, number, text, truth};
use crate::value::{Element, SqlType};
use SqlType::{Array, Bool, Int2, Int4, Name, Oid, Text, TextArray, TimestampTz};

/// The OIDs of the fixed rows, those of PostgreSQL.
pub const HEAP: u32 = 2;
pub const BTREE: u32 = 403;
pub const DEFAULT_COLLATION: u32 = 100;
pub const SQL_LANGUAGE: u32 = 14;

const PG: &str = "pg_catalog";

pub(super) const TABLES: &[&dyn Computed] = &[
    &PG_AM,
    &PG_COLLATION,
    &PG_LANGUAGE,
    &PG_TABLESPACE,
    &empty("pg_aggregate", &[("aggfnoid", Oid), ("aggkind", Text), ("aggnumdirectargs", Int2)]),
    &empty(
        "pg_available_extensions",
        &[("name", Name), ("default_version", Text), ("installed_version", Text), ("comment", Text)],
    ),
    &empty(
        "pg_cast",
        &[
            ("oid", Oid),
            ("castsource", Oid),
            ("casttarget", Oid),
            ("castfunc", Oid),
            ("castcontext", Text),
            ("castmethod", Text),
        ],
    ),
    &empty(
        "pg_conversion",
        &[
            ("oid", Oid),
            ("conname", Name),
            ("connamespace", Oid),
            ("conowner", Oid),
            ("conforencoding", Int4),
            ("contoencoding", Int4),
            ("conproc", Oid),
            ("condefault", Bool),
        ],
    ),
    &empty(
        "pg_event_trigger",
        &[
            ("oid", Oid),
            ("evtname", Name),
            ("evtevent", Name),
            ("evtowner", Oid),
            ("evtfoid", Oid),
            ("evtenabled", Text),
            ("evttags", TextArray),
        ],
    ),
    &empty(
        "pg_extension",
        &[
            ("oid", Oid),
            ("extname", Name),
            ("extowner", Oid),
            ("extnamespace", Oid),
            ("extrelocatable", Bool),
            ("extversion", Text),
            ("extconfig", Array(Element::Oid)),
            ("extcondition", TextArray),
        ],
    ),
    &empty(
        "pg_foreign_data_wrapper",
        &[
            ("oid", Oid),
            ("fdwname", Name),
            ("fdwowner", Oid),
            ("fdwhandler", Oid),
            ("fdwvalidator", Oid),
            ("fdwacl", Array(Element::AclItem)),
            ("fdwoptions", TextArray),
        ],
    ),
    &empty(
        "pg_foreign_server",
        &[
            ("oid", Oid),
            ("srvname", Name),
            ("srvowner", Oid),
            ("srvfdw", Oid),
            ("srvtype", Text),
            ("srvversion", Text),
            ("srvacl", Array(Element::AclItem)),
            ("srvoptions", TextArray),
        ],
    ),
    &empty("pg_foreign_table", &[("ftrelid", Oid), ("ftserver", Oid), ("ftoptions", TextArray)]),
    &empty("pg_inherits", &[("inhrelid", Oid), ("inhparent", Oid), ("inhseqno", Int4)]),
    &empty(
        "pg_init_privs",
        &[
            ("objoid", Oid),
            ("classoid", Oid),
            ("objsubid", Int4),
            ("privtype", Text),
            ("initprivs", Array(Element::AclItem)),
        ],
    ),
    &empty(
        "pg_locks",
        &[
            ("locktype", Text),
            ("database", Oid),
            ("relation", Oid),
            ("page", Int4),
            ("transactionid", Oid),
            ("classid", Oid),
            ("objid", Oid),
            ("objsubid", Int2),
            ("pid", Int4),
            ("mode", Text),
            ("granted", Bool),
        ],
    ),
    &empty(
        "pg_matviews",
        &[
            ("schemaname", Name),
            ("matviewname", Name),
            ("matviewowner", Name),
            ("tablespace", Name),
            ("hasindexes", Bool),
            ("ispopulated", Bool),
            ("definition", Text),
        ],
    ),
    &empty(
        "pg_opclass",
        &[
            ("oid", Oid),
            ("opcmethod", Oid),
            ("opcname", Name),
            ("opcnamespace", Oid),
            ("opcowner", Oid),
            ("opcfamily", Oid),
            ("opcintype", Oid),
            ("opcdefault", Bool),
            ("opckeytype", Oid),
        ],
    ),
    &empty(
        "pg_operator",
        &[
            ("oid", Oid),
            ("oprname", Name),
            ("oprnamespace", Oid),
            ("oprowner", Oid),
            ("oprkind", Text),
            ("oprleft", Oid),
            ("oprright", Oid),
            ("oprresult", Oid),
            ("oprcode", Oid),
        ],
    ),
    &empty(
        "pg_partitioned_table",
        &[
            ("partrelid", Oid),
            ("partstrat", Text),
            ("partnatts", Int2),
            ("partdefid", Oid),
            ("partattrs", Array(Element::Int2Vector)),
        ],
    ),
    &empty(
        "pg_policy",
        &[
            ("oid", Oid),
            ("polname", Name),
            ("polrelid", Oid),
            ("polcmd", Text),
            ("polpermissive", Bool),
            ("polroles", Array(Element::Oid)),
            ("polqual", Text),
            ("polwithcheck", Text),
        ],
    ),
    &empty(
        "pg_prepared_xacts",
        &[
            ("transaction", Oid),
            ("gid", Text),
            ("prepared", TimestampTz),
            ("owner", Name),
            ("database", Name),
        ],
    ),
    &empty(
        "pg_publication",
        &[
            ("oid", Oid),
            ("pubname", Name),
            ("pubowner", Oid),
            ("puballtables", Bool),
            ("pubinsert", Bool),
            ("pubupdate", Bool),
            ("pubdelete", Bool),
            ("pubtruncate", Bool),
            ("pubviaroot", Bool),
        ],
    ),
    &empty("pg_publication_rel", &[("oid", Oid), ("prpubid", Oid), ("prrelid", Oid)]),
    &empty("pg_publication_namespace", &[("oid", Oid), ("pnpubid", Oid), ("pnnspid", Oid)]),
    &empty(
        "pg_range",
        &[
            ("rngtypid", Oid),
            ("rngsubtype", Oid),
            ("rngcollation", Oid),
            ("rngsubopc", Oid),
            ("rngcanonical", Oid),
            ("rngsubdiff", Oid),
        ],
    ),
    &empty(
        "pg_rewrite",
        &[
            ("oid", Oid),
            ("rulename", Name),
            ("ev_class", Oid),
            ("ev_type", Text),
            ("ev_enabled", Text),
            ("is_instead", Bool),
        ],
    ),
    &empty(
        "pg_seclabel",
        &[("objoid", Oid), ("classoid", Oid), ("objsubid", Int4), ("provider", Text), ("label", Text)],
    ),
    &empty("pg_shseclabel", &[("objoid", Oid), ("classoid", Oid), ("provider", Text), ("label", Text)]),
    &empty(
        "pg_statistic_ext",
        &[
            ("oid", Oid),
            ("stxrelid", Oid),
            ("stxname", Name),
            ("stxnamespace", Oid),
            ("stxowner", Oid),
            ("stxstattarget", Int4),
            ("stxkeys", Array(Element::Int2Vector)),
            ("stxkind", TextArray),
        ],
    ),
    &empty(
        "pg_subscription",
        &[
            ("oid", Oid),
            ("subdbid", Oid),
            ("subname", Name),
            ("subowner", Oid),
            ("subenabled", Bool),
            ("subpublications", TextArray),
        ],
    ),
    &empty("pg_timezone_names", &[("name", Text), ("abbrev", Text), ("utc_offset", Text), ("is_dst", Bool)]),
    &empty(
        "pg_trigger",
        &[
            ("oid", Oid),
            ("tgrelid", Oid),
            ("tgparentid", Oid),
            ("tgname", Name),
            ("tgfoid", Oid),
            ("tgtype", Int2),
            ("tgenabled", Text),
            ("tgisinternal", Bool),
            ("tgconstrrelid", Oid),
            ("tgconstrindid", Oid),
            ("tgconstraint", Oid),
            ("tgdeferrable", Bool),
            ("tginitdeferred", Bool),
            ("tgnargs", Int2),
            ("tgqual", Text),
        ],
    ),
    &empty("pg_user_mapping", &[("oid", Oid), ("umuser", Oid), ("umserver", Oid), ("umoptions", TextArray)]),
];

const fn empty(name: &'static str, columns: &'static [(&'static str, SqlType)]) -> Empty {
    Empty { schema: PG, name, columns }
}

/// OID, name, kind.
type Fixed = (u32, &'static str, &'static str);

static PG_AM: Of<Fixed> = Of {
    schema: PG,
    name: "pg_am",
    keys: &[],
    items: |_| Box::new([(HEAP, "heap", "t"), (BTREE, "btree", "i")].into_iter()),
    columns: &[
        ("oid", Oid, |row| number(row.0)),
        ("amname", Name, |row| text(row.1)),
        ("amhandler", Text, |row| text(row.1)),
        ("amtype", Text, |row| text(row.2)),
    ],
};

static PG_COLLATION: Of<Fixed> = Of {
    schema: PG,
    name: "pg_collation",
    keys: &[],
    items: |_| Box::new([(DEFAULT_COLLATION, "default", "d"), (950, "C", "c")].into_iter()),
    columns: &[
        ("oid", Oid, |row| number(row.0)),
        ("collname", Name, |row| text(row.1)),
        ("collnamespace", Oid, |_| {
            number(grantd_catalog::system::schema_id(PG).map_or(0, |schema| schema.0))
        }),
        ("collowner", Oid, |_| number(grantd_catalog::id::PrincipalId::NODE.0)),
        ("collprovider", Text, |row| text(row.2)),
        ("collisdeterministic", Bool, |_| truth(true)),
        ("collencoding", Int4, |_| Value::Integer(-1)),
        ("collcollate", Name, |_| text("C")),
        ("collctype", Name, |_| text("C")),
        ("collversion", Text, |_| Value::Null),
    ],
};

static PG_LANGUAGE: Of<Fixed> = Of {
    schema: PG,
    name: "pg_language",
    keys: &[],
    items: |_| Box::new([(12, "internal", ""), (13, "c", ""), (SQL_LANGUAGE, "sql", "")].into_iter()),
    columns: &[
        ("oid", Oid, |row| number(row.0)),
        ("lanname", Name, |row| text(row.1)),
        ("lanowner", Oid, |_| number(grantd_catalog::id::PrincipalId::NODE.0)),
        ("lanispl", Bool, |_| truth(false)),
        ("lanpltrusted", Bool, |_| truth(true)),
        ("lanplcallfoid", Oid, |_| number(0)),
        ("laninline", Oid, |_| number(0)),
        ("lanvalidator", Oid, |_| number(0)),
        ("lanacl", Array(Element::AclItem), |_| Value::Null),
    ],
};

static PG_TABLESPACE: Of<Fixed> = Of {
    schema: PG,
    name: "pg_tablespace",
    keys: &[],
    items: |_| Box::new([(1663, "pg_default", "")].into_iter()),
    columns: &[
        ("oid", Oid, |row| number(row.0)),
        ("spcname", Name, |row| text(row.1)),
        ("spcowner", Oid, |_| number(grantd_catalog::id::PrincipalId::NODE.0)),
        ("spclocation", Text, |_| Value::Null),
        ("spcacl", Array(Element::AclItem), |_| Value::Null),
        ("spcoptions", TextArray, |_| Value::Null),
    ],
};
