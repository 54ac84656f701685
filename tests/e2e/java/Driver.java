import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.nio.charset.StandardCharsets;

/**
 * Runs the main methods of Kafka's tools, one after the other, in one JVM: a start costs more than most tools do.
 *
 * A line of JSON on stdin asks: {"main": [class names, the first that exists is run], "args": [...]}; a line on stdout
 * answers: {"exit": status, "out": what it printed, "err": ...}. {"main": [...], "args": [...], "background": true} starts a
 * server in a thread of its own and answers {} at once; {"output": true} gives what has been printed since.
 */
public final class Driver {
    /** What a tool's Exit.exit becomes. */
    private static final class Exited extends Error {
        Exited(int status) {
            super("exit " + status, null, false, false);
        }
    }

    private static final ObjectMapper JSON = new ObjectMapper();
    private static final ByteArrayOutputStream OUT = new ByteArrayOutputStream();
    private static final ByteArrayOutputStream ERR = new ByteArrayOutputStream();
    private static Integer exit;
    private static String out;
    private static String err;

    public static void main(String[] arguments) throws Exception {
        PrintStream answers = new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
        BufferedReader questions =
            new BufferedReader(new InputStreamReader(new FileInputStream(FileDescriptor.in), StandardCharsets.UTF_8));
        // Set once and for all: Scala's Console keeps the stream that it finds first.
        System.setOut(new PrintStream(OUT, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(ERR, true, StandardCharsets.UTF_8));
        System.setIn(new ByteArrayInputStream(new byte[0]));
        catchExits();
        for (String line = questions.readLine(); line != null; line = questions.readLine()) {
            answers.println(JSON.writeValueAsString(answer(JSON.readTree(line))));
        }
        Runtime.getRuntime().halt(0);
    }

    private static ObjectNode answer(JsonNode question) throws Exception {
        ObjectNode answer = JSON.createObjectNode();
        if (question.has("output")) {
            return answer.put("out", take(OUT)).put("err", take(ERR));
        }
        Method main = method(question.get("main"));
        String[] args = JSON.treeToValue(question.get("args"), String[].class);
        if (question.has("background")) {
            Thread thread = new Thread(() -> run(main, args), "background " + args[0]);
            thread.setDaemon(true);
            thread.start();
            return answer;
        }
        OUT.reset();
        ERR.reset();
        exit = null;
        run(main, args);
        finish(0);
        return answer.put("exit", exit).put("out", out).put("err", err);
    }

    private static Method method(JsonNode names) throws ClassNotFoundException, NoSuchMethodException {
        for (JsonNode name : names) {
            try {
                return Class.forName(name.asText()).getMethod("main", String[].class);
            } catch (ClassNotFoundException e) {
                // The next name is where another version has it.
            }
        }
        throw new ClassNotFoundException(names.toString());
    }

    private static void run(Method main, String[] args) {
        try {
            main.invoke(null, (Object) args);
        } catch (InvocationTargetException e) {
            if (!(e.getCause() instanceof Exited) && exit == null) {
                e.getCause().printStackTrace();
                finish(1);
            }
        } catch (IllegalAccessException e) {
            throw new AssertionError(e);
        }
    }

    /** The first exit counts: some tools catch all, ours too, and exit again. */
    private static synchronized void finish(int status) {
        if (exit == null) {
            exit = status;
            out = take(OUT);
            err = take(ERR);
        }
    }

    private static String take(ByteArrayOutputStream stream) {
        synchronized (stream) {
            String text = stream.toString(StandardCharsets.UTF_8);
            stream.reset();
            return text;
        }
    }

    private static void catchExits() throws ReflectiveOperationException {
        Class<?> exits;
        try {
            exits = Class.forName("org.apache.kafka.common.utils.internals.Exit");
        } catch (ClassNotFoundException e) {
            exits = Class.forName("org.apache.kafka.common.utils.Exit");
        }
        Class<?> procedure = Class.forName(exits.getName() + "$Procedure");
        Object throwing = Proxy.newProxyInstance(procedure.getClassLoader(), new Class<?>[] {procedure}, (proxy, called, with) -> {
            if (!Thread.currentThread().getName().startsWith("background")) {
                finish((Integer) with[0]);
            }
            throw new Exited((Integer) with[0]);
        });
        exits.getMethod("setExitProcedure", procedure).invoke(null, throwing);
        exits.getMethod("setHaltProcedure", procedure).invoke(null, throwing);
    }
}
