package bench;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * The small job on Kafka Streams: counts in a persistent store with a cache and a changelog, exactly once.
 *
 * <p>The topic is partitioned by org already, so the processor counts in place; the DSL's groupBy would write and
 * read every event a second time, through a repartition topic.
 */
public final class CountEvents {
    private static final long WEEK_SECONDS = 7 * 24 * 3600;
    private static final AtomicBoolean BEGAN = new AtomicBoolean();

    @JsonIgnoreProperties(ignoreUnknown = true)
    record Event(int org_id, int user_id, double time) {}

    static final class Counter implements Processor<byte[], byte[], Void, Void> {
        private final ObjectReader reader = new ObjectMapper().readerFor(Event.class);
        private KeyValueStore<String, Long> counts;

        @Override
        public void init(ProcessorContext<Void, Void> context) {
            counts = context.getStateStore("counts");
        }

        @Override
        public void process(Record<byte[], byte[]> record) {
            if (!BEGAN.get() && BEGAN.compareAndSet(false, true)) {
                mark("began");
            }
            try {
                Event event = reader.readValue(record.value());
                String key = event.org_id() + "/" + event.user_id() + "/" + (long) event.time() / WEEK_SECONDS;
                Long before = counts.get(key);
                counts.put(key, before == null ? 1L : before + 1L);
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        }
    }

    static void mark(String what) {
        String line = String.format(java.util.Locale.ROOT, "%s %.6f%n", what, System.nanoTime() / 1e9);
        try {
            Files.writeString(
                    Path.of(System.getenv("PEERS_FOLDER"), "marks"), line,
                    StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    public static void main(String[] arguments) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, System.getenv("PEERS_NAME"));
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, System.getenv("PEERS_BROKER"));
        settings.put(StreamsConfig.STATE_DIR_CONFIG, System.getenv("PEERS_FOLDER") + "/state");
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, System.getenv().getOrDefault("PEERS_THREADS", "2"));
        settings.put("auto.offset.reset", "earliest");
        String commit = System.getenv("PEERS_COMMIT_MS");
        if (commit != null) {
            settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, commit);
        }
        Topology topology = new Topology();
        topology.addSource(
                "events", new ByteArrayDeserializer(), new ByteArrayDeserializer(), System.getenv("PEERS_TOPIC"));
        topology.addProcessor("count", Counter::new, "events");
        topology.addStateStore(
                Stores.keyValueStoreBuilder(
                                Stores.persistentKeyValueStore("counts"), Serdes.String(), Serdes.Long())
                        .withCachingEnabled(),
                "count");
        KafkaStreams streams = new KafkaStreams(topology, settings);
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
    }
}
