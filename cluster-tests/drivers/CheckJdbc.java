import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
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
