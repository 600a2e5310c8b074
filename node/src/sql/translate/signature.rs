//! Functions whose types are fixed: one table, and the choice among those of one name.

use super::{Form, Parameters, Typed, cast, function};
use crate::error::{SqlError, state};
use crate::value::{Family, SqlType};

/// Functions with fixed types: name, argument types, function of the row store, result type.
type Signature = (&'static str, &'static [SqlType], &'static str, SqlType);

/// Of several with one name the first wins that the arguments fit best: FLOAT8 stands before DECIMAL, because an
/// integer becomes a FLOAT8 where both could be meant.
const SIGNATURES: &[Signature] = {
    use SqlType::{
        Bool, Bytea, Date, Float8, Int8, Interval, Jsonb, Numeric, Text, TextArray, Time, Timestamp,
        TimestampTz,
    };
    &[
        ("length", &[Text], "length", Int8),
        ("char_length", &[Text], "length", Int8),
        ("character_length", &[Text], "length", Int8),
        ("octet_length", &[Text], "octet_length", Int8),
        ("lower", &[Text], "g_lower", Text),
        ("upper", &[Text], "g_upper", Text),
        ("substring", &[Text, Int8], "g_substr", Text),
        ("substring", &[Text, Int8, Int8], "g_substr", Text),
        ("substr", &[Text, Int8], "g_substr", Text),
        ("substr", &[Text, Int8, Int8], "g_substr", Text),
        ("trim", &[Text], "g_trim", Text),
        ("btrim", &[Text], "g_trim", Text),
        ("btrim", &[Text, Text], "g_trim", Text),
        ("ltrim", &[Text], "g_ltrim", Text),
        ("ltrim", &[Text, Text], "g_ltrim", Text),
        ("rtrim", &[Text], "g_rtrim", Text),
        ("rtrim", &[Text, Text], "g_rtrim", Text),
        ("replace", &[Text, Text, Text], "g_replace", Text),
        ("strpos", &[Text, Text], "g_strpos", Int8),
        ("left", &[Text, Int8], "g_left", Text),
        ("right", &[Text, Int8], "g_right", Text),
        ("repeat", &[Text, Int8], "g_repeat", Text),
        ("reverse", &[Text], "g_reverse", Text),
        ("starts_with", &[Text, Text], "g_starts_with", Bool),
        ("split_part", &[Text, Text, Int8], "g_split_part", Text),
        ("position", &[Text, Text], "g_strpos", Int8),
        ("bit_length", &[Text], "g_bit_length", Int8),
        ("div", &[Int8, Int8], "g_div", Int8),
        ("div", &[Numeric, Numeric], "g_decimal_whole", Numeric),
        ("mod", &[Int8, Int8], "g_mod", Int8),
        ("mod", &[Float8, Float8], "g_fmod", Float8),
        ("mod", &[Numeric, Numeric], "g_decimal_mod", Numeric),
        ("floor", &[Float8], "g_floor", Float8),
        ("floor", &[Numeric], "g_decimal_floor", Numeric),
        ("ceil", &[Float8], "g_ceil", Float8),
        ("ceil", &[Numeric], "g_decimal_ceil", Numeric),
        ("ceiling", &[Float8], "g_ceil", Float8),
        ("ceiling", &[Numeric], "g_decimal_ceil", Numeric),
        ("round", &[Float8], "g_round", Float8),
        ("round", &[Numeric], "g_decimal_round", Numeric),
        ("trunc", &[Float8], "g_trunc", Float8),
        ("trunc", &[Numeric], "g_decimal_trunc", Numeric),
        ("sqrt", &[Float8], "g_sqrt", Float8),
        ("sqrt", &[Numeric], "g_decimal_sqrt", Numeric),
        ("sign", &[Float8], "g_sign", Float8),
        ("sign", &[Numeric], "g_decimal_sign", Numeric),
        ("round", &[Float8, Int8], "g_fround", Float8),
        ("round", &[Numeric, Int8], "g_decimal_round", Numeric),
        ("trunc", &[Numeric, Int8], "g_decimal_trunc", Numeric),
        ("power", &[Int8, Int8], "g_pow", Int8),
        ("power", &[Float8, Float8], "g_fpow", Float8),
        ("power", &[Numeric, Numeric], "g_decimal_pow", Numeric),
        ("pow", &[Int8, Int8], "g_pow", Int8),
        ("pow", &[Float8, Float8], "g_fpow", Float8),
        ("pow", &[Numeric, Numeric], "g_decimal_pow", Numeric),
        ("exp", &[Float8], "g_fexp", Float8),
        ("exp", &[Numeric], "g_decimal_exp", Numeric),
        ("ln", &[Float8], "g_fln", Float8),
        ("ln", &[Numeric], "g_decimal_ln", Numeric),
        ("log", &[Float8], "g_flog", Float8),
        ("log", &[Numeric], "g_decimal_log", Numeric),
        ("log10", &[Float8], "g_flog", Float8),
        ("log10", &[Numeric], "g_decimal_log", Numeric),
        ("cbrt", &[Float8], "g_fcbrt", Float8),
        ("scale", &[Numeric], "g_decimal_scale", Int8),
        ("abs", &[Int8], "g_abs", Int8),
        ("abs", &[Float8], "abs", Float8),
        ("abs", &[Numeric], "g_decimal_abs", Numeric),
        ("width_bucket", &[Float8, Float8, Float8, Int8], "g_width_bucket", Int8),
        ("to_hex", &[Int8], "g_to_hex", Text),
        ("octet_length", &[Bytea], "g_byte_length", Int8),
        ("length", &[Bytea], "g_byte_length", Int8),
        ("initcap", &[Text], "g_initcap", Text),
        ("lpad", &[Text, Int8], "g_lpad", Text),
        ("lpad", &[Text, Int8, Text], "g_lpad", Text),
        ("rpad", &[Text, Int8], "g_rpad", Text),
        ("rpad", &[Text, Int8, Text], "g_rpad", Text),
        ("overlay", &[Text, Text, Int8], "g_overlay", Text),
        ("overlay", &[Text, Text, Int8, Int8], "g_overlay", Text),
        ("translate", &[Text, Text, Text], "g_translate", Text),
        ("ascii", &[Text], "g_ascii", Int8),
        ("chr", &[Int8], "g_chr", Text),
        ("md5", &[Text], "g_md5", Text),
        ("md5", &[Bytea], "g_md5", Text),
        ("sha256", &[Bytea], "g_sha256", Bytea),
        ("sha512", &[Bytea], "g_sha512", Bytea),
        ("encode", &[Bytea, Text], "g_encode", Text),
        ("decode", &[Text, Text], "g_decode", Bytea),
        ("substring", &[Text, Text], "g_regex_substring", Text),
        ("regexp_replace", &[Text, Text, Text], "g_regex_replace", Text),
        ("regexp_replace", &[Text, Text, Text, Text], "g_regex_replace", Text),
        ("regexp_match", &[Text, Text], "g_regex_match", TextArray),
        ("regexp_match", &[Text, Text, Text], "g_regex_match", TextArray),
        ("regexp_split_to_array", &[Text, Text], "g_regex_split", TextArray),
        ("regexp_split_to_array", &[Text, Text, Text], "g_regex_split", TextArray),
        ("regexp_count", &[Text, Text], "g_regex_count", Int8),
        ("date_trunc", &[Text, TimestampTz], "g_trunc_moment", TimestampTz),
        ("date_trunc", &[Text, Timestamp], "g_trunc_moment", Timestamp),
        ("date_trunc", &[Text, Interval], "g_trunc_interval", Interval),
        ("age", &[TimestampTz, TimestampTz], "g_age", Interval),
        ("age", &[Timestamp, Timestamp], "g_age", Interval),
        ("make_date", &[Int8, Int8, Int8], "g_make_date", Date),
        ("make_time", &[Int8, Int8, Float8], "g_make_time", Time),
        ("make_timestamp", &[Int8, Int8, Int8, Int8, Int8, Float8], "g_make_moment", Timestamp),
        ("make_timestamptz", &[Int8, Int8, Int8, Int8, Int8, Float8], "g_make_moment", TimestampTz),
        ("make_interval", &[], "g_make_interval", Interval),
        ("make_interval", &[Int8], "g_make_interval", Interval),
        ("make_interval", &[Int8, Int8], "g_make_interval", Interval),
        ("make_interval", &[Int8, Int8, Int8], "g_make_interval", Interval),
        ("make_interval", &[Int8, Int8, Int8, Int8], "g_make_interval", Interval),
        ("make_interval", &[Int8, Int8, Int8, Int8, Int8], "g_make_interval", Interval),
        ("make_interval", &[Int8, Int8, Int8, Int8, Int8, Int8], "g_make_interval", Interval),
        ("make_interval", &[Int8, Int8, Int8, Int8, Int8, Int8, Float8], "g_make_interval", Interval),
        ("to_timestamp", &[Float8], "g_epoch_moment", TimestampTz),
        ("to_char", &[TimestampTz, Text], "g_char_moment", Text),
        ("to_char", &[Timestamp, Text], "g_char_moment", Text),
        ("justify_hours", &[Interval], "g_justify_hours", Interval),
        ("justify_days", &[Interval], "g_justify_days", Interval),
        ("justify_interval", &[Interval], "g_justify_interval", Interval),
        ("jsonb_typeof", &[Jsonb], "g_json_typeof", Text),
        ("json_typeof", &[Jsonb], "g_json_typeof", Text),
        ("jsonb_array_length", &[Jsonb], "g_json_array_length", Int8),
        ("json_array_length", &[Jsonb], "g_json_array_length", Int8),
        ("jsonb_strip_nulls", &[Jsonb], "g_json_strip_nulls", Jsonb),
        ("json_strip_nulls", &[Jsonb], "g_json_strip_nulls", Jsonb),
        ("jsonb_pretty", &[Jsonb], "g_json_pretty", Text),
    ]
};

/// Whether there is one of this name.
pub fn knows(name: &str) -> bool {
    SIGNATURES.iter().any(|signature| signature.0 == name)
}

/// How well arguments fit a signature; none: not at all. What has the type fits best, then what has its family, a
/// literal before what must be converted.
fn fit(arguments: &[Typed], types: &[SqlType]) -> Option<u32> {
    if arguments.len() != types.len() {
        return None;
    }
    arguments
        .iter()
        .zip(types)
        .map(|(argument, to)| {
            let (from, family) = (argument.sql_type, to.family());
            Some(match &argument.form {
                Form::Decimal(_) if family == Family::Numeric => 3,
                Form::Decimal(_) if family == Family::Float => 1,
                Form::Decimal(_) => return None,
                Form::Text(_) | Form::Parameter(_) | Form::Null if family == Family::Text => 3,
                Form::Text(_) | Form::Parameter(_) | Form::Null => 2,
                Form::Computed if from == *to => 4,
                Form::Computed if from.family() == family => 3,
                Form::Computed if cast::widens(from, *to) => 1,
                Form::Computed => return None,
            })
        })
        .sum()
}

/// A call of one of them.
pub fn call(name: &str, arguments: Vec<Typed>, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    let named = || SIGNATURES.iter().filter(|signature| signature.0 == name);
    // Of equal ones the first.
    let best = named().filter_map(|signature| fit(&arguments, signature.1).map(|fit| (fit, signature))).fold(
        None,
        |best: Option<(u32, &Signature)>, next| match best {
            Some(best) if best.0 >= next.0 => Some(best),
            _ => Some(next),
        },
    );
    // One of another type is named in the error that a conversion gives.
    let lone = named().filter(|signature| signature.1.len() == arguments.len());
    let chosen = match (best, lone.collect::<Vec<_>>().as_slice()) {
        (Some((_, signature)), _) => Some(signature),
        (None, [signature]) => Some(*signature),
        (None, _) => None,
    };
    if let Some((_, types, function, result)) = chosen {
        let what = format!("argument of {name}()");
        let rendered = arguments
            .into_iter()
            .zip(*types)
            .map(|(argument, to)| cast::expect(argument, *to, &what, parameters).map(|typed| typed.sql))
            .collect::<Result<Vec<_>, _>>()?;
        return Ok(Typed::computed(format!("{function}({})", rendered.join(", ")), *result));
    }
    if named().next().is_some() {
        let types: Vec<_> = arguments.iter().map(|argument| argument.sql_type.word()).collect();
        return Err(SqlError::new(
            state::UNDEFINED_FUNCTION,
            format!("unknown signature: {name}({})", types.join(", ")),
        ));
    }
    Err(function::undefined(name))
}
