import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;

/** The PostgreSQL JDBC driver against a cluster: SCRAM, certificates, server-prepared statements, metadata. */
public class CheckJdbc {
    static final String[] PORTS = System.getenv("PORTS").split(",");
    static final String CERTS = System.getenv("CERTS");

    static Connection connect(String port, String user, boolean certificate) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", user);
        properties.setProperty("sslmode", "verify-full");
        properties.setProperty("sslrootcert", CERTS + "/ca.crt");
        if (certificate) {
            properties.setProperty("sslcert", CERTS + "/client." + user + ".crt");
            properties.setProperty("sslkey", CERTS + "/client." + user + ".pk8");
        } else {
            properties.setProperty("password", System.getenv("PASSWORD"));
        }
        return DriverManager.getConnection("jdbc:postgresql://localhost:" + port + "/shop", properties);
    }

    static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    static List<String> column(ResultSet rows, String name) throws SQLException {
        List<String> found = new ArrayList<>();
        while (rows.next()) {
            found.add(rows.getString(name));
        }
        return found;
    }

    static long count(Connection root, int key) throws SQLException {
        try (ResultSet row = root.createStatement().executeQuery(
                "SELECT count(*) FROM orders WHERE id >= " + key + " AND id < " + (key + 100))) {
            check(row.next(), "a row");
            return row.getLong(1);
        }
    }

    /** A batch is sent before one Sync: done whole or not at all. */
    static void batches(Connection root, int key) throws SQLException {
        try (PreparedStatement insert = root.prepareStatement("INSERT INTO orders (id, item, paid) VALUES (?, 'batch', ?)")) {
            for (boolean fails : new boolean[] {true, false}) {
                for (int number = 0; number < 20; number++) {
                    insert.setLong(1, key + (fails && number == 13 ? 0 : number));
                    insert.setBoolean(2, true);
                    insert.addBatch();
                }
                try {
                    check(insert.executeBatch().length == 20 && !fails, "a key that is there was inserted");
                } catch (BatchUpdateException refused) {
                    check(fails && refused.getSQLState().equals("23505"), refused.toString());
                }
                check(count(root, key) == (fails ? 0 : 20), "a batch is whole: " + count(root, key));
            }
        }
        try (Statement different = root.createStatement()) {
            different.addBatch("UPDATE orders SET item = 'a' WHERE id = " + key);
            different.addBatch("DELETE FROM orders WHERE id = " + (key + 1));
            different.addBatch("INSERT INTO orders (id, item) VALUES (" + (key + 50) + ", 'b')");
            check(java.util.Arrays.equals(different.executeBatch(), new int[] {1, 1, 1}), "each tells how many rows");
            check(count(root, key) == 20, "all of them");
        }
        root.setAutoCommit(false);
        try (Statement rolledBack = root.createStatement()) {
            rolledBack.addBatch("DELETE FROM orders WHERE id = " + key);
            rolledBack.addBatch("DELETE FROM orders WHERE id = " + (key + 2));
            rolledBack.executeBatch();
            root.rollback();
        }
        root.setAutoCommit(true);
        check(count(root, key) == 20, "a batch in a block ends with the block");
    }

    /** A fetch size makes the driver take a portal's rows in parts, with a Sync behind each; in a block it stays. */
    static void portals(Connection root) throws SQLException {
        root.setAutoCommit(false);
        try (PreparedStatement select = root.prepareStatement("SELECT n, 'row ' || n FROM generate_series(1, ?) AS n")) {
            for (int round = 0; round < 7; round++) {
                select.setFetchSize(7);
                select.setInt(1, 50);
                try (ResultSet rows = select.executeQuery();
                        ResultSet other = root.createStatement().executeQuery("SELECT 1")) {
                    check(other.next(), "another query between the parts");
                    for (int number = 1; number <= 50; number++) {
                        check(rows.next() && rows.getInt(1) == number && rows.getString(2).equals("row " + number),
                            "row " + number);
                    }
                    check(!rows.next(), "no more");
                }
            }
        }
        root.commit();
        root.setAutoCommit(true);
    }

    public static void main(String[] arguments) throws SQLException {
        for (int at = 0; at < PORTS.length; at++) {
            try (Connection root = connect(PORTS[at], "root", true); Connection mia = connect(PORTS[at], "mia", false)) {
                root.createStatement().execute("GRANT SELECT, INSERT ON TABLE orders TO mia");
                int base = 1000 + at * 100;
                // The driver prepares on the server from the fifth execution on, and then takes results in binary.
                try (PreparedStatement insert = mia.prepareStatement("INSERT INTO orders (id, item, paid) VALUES (?, ?, ?)")) {
                    for (int number = 0; number < 8; number++) {
                        insert.setLong(1, base + number);
                        insert.setString(2, "item " + number);
                        insert.setBoolean(3, number % 2 == 0);
                        check(insert.executeUpdate() == 1, "one row");
                    }
                }
                try (PreparedStatement select = mia.prepareStatement("SELECT id, item, paid FROM orders WHERE id = ?")) {
                    for (int number = 0; number < 8; number++) {
                        select.setLong(1, base + number);
                        ResultSet row = select.executeQuery();
                        check(row.next(), "a row");
                        check(row.getLong(1) == base + number && row.getString(2).equals("item " + number)
                            && row.getBoolean(3) == (number % 2 == 0), "row " + number);
                        check(!row.next(), "one row");
                    }
                    root.createStatement().execute("REVOKE ALL ON TABLE orders FROM mia");
                    try {
                        select.executeQuery();
                        check(false, "a prepared statement went on after REVOKE");
                    } catch (SQLException refused) {
                        check(refused.getSQLState().equals("42501"), refused.toString());
                    }
                }
                batches(root, 30_000 + at * 100);
                portals(root);
                DatabaseMetaData data = root.getMetaData();
                List<String> tables = column(data.getTables(null, "public", "%", new String[] {"TABLE"}), "TABLE_NAME");
                check(tables.equals(List.of("customers", "orders")), "tables: " + tables);
                List<String> views = column(data.getTables(null, "public", "%", new String[] {"VIEW"}), "TABLE_NAME");
                check(views.equals(List.of("paid_orders")), "views: " + views);
                List<String> columns = column(data.getColumns(null, "public", "orders", "%"), "COLUMN_NAME");
                check(columns.equals(List.of("id", "customer", "item", "paid")), "columns: " + columns);
                List<String> keys = column(data.getPrimaryKeys(null, "public", "orders"), "COLUMN_NAME");
                check(keys.equals(List.of("id")), "keys: " + keys);
                List<String> schemas = column(data.getSchemas(), "TABLE_SCHEM");
                check(schemas.contains("public") && schemas.contains("ops"), "schemas: " + schemas);
            }
        }
        System.out.println("JDBC " + DriverManager.getDriver("jdbc:postgresql://localhost/").getMajorVersion() + ": "
            + PORTS.length + " nodes");
    }
}
