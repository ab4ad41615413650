package bench;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.AbstractDeserializationSchema;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.TypeHint;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.api.operators.OneInputStreamOperator;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;

/**
 * The small job on Flink: keyed state with exactly-once checkpoints each second, counts into a transactional sink.
 *
 * <p>A key that changed is emitted once a checkpoint, before its barrier, as Flink SQL's mini-batches do; a record an
 * event would only cost it time.
 */
public final class CountEvents {
    private static final long WEEK_SECONDS = 7 * 24 * 3600;
    private static final AtomicBoolean BEGAN = new AtomicBoolean();

    @JsonIgnoreProperties(ignoreUnknown = true)
    record Event(int org_id, int user_id, double time) {}

    /** Makes an event's key, "org/user/week", of its JSON. */
    static final class Decode extends AbstractDeserializationSchema<String> {
        private transient ObjectReader reader;

        @Override
        public void open(InitializationContext context) {
            reader = new ObjectMapper().readerFor(Event.class);
        }

        @Override
        public String deserialize(byte[] message) throws IOException {
            if (!BEGAN.get() && BEGAN.compareAndSet(false, true)) {
                mark("began");
            }
            Event event = reader.readValue(message);
            return event.org_id() + "/" + event.user_id() + "/" + (long) event.time() / WEEK_SECONDS;
        }
    }

    /** Counts in keyed state; what changed goes on before the next barrier, so it is in that checkpoint's commit. */
    static final class Count extends AbstractStreamOperator<Tuple2<String, Long>>
            implements OneInputStreamOperator<String, Tuple2<String, Long>> {
        private transient ValueState<Long> count;
        private transient Map<String, Long> changed;

        @Override
        public void open() throws Exception {
            super.open();
            count = getRuntimeContext().getState(new ValueStateDescriptor<>("count", Types.LONG));
            changed = new HashMap<>();
        }

        @Override
        public void processElement(StreamRecord<String> element) throws Exception {
            Long before = count.value();
            long now = before == null ? 1L : before + 1L;
            count.update(now);
            changed.put(element.getValue(), now);
        }

        @Override
        public void prepareSnapshotPreBarrier(long checkpoint) {
            changed.forEach((key, number) -> output.collect(new StreamRecord<>(Tuple2.of(key, number))));
            changed.clear();
        }
    }

    static final class SpellKey implements SerializationSchema<Tuple2<String, Long>> {
        @Override
        public byte[] serialize(Tuple2<String, Long> pair) {
            return pair.f0.getBytes(StandardCharsets.US_ASCII);
        }
    }

    static final class SpellCount implements SerializationSchema<Tuple2<String, Long>> {
        @Override
        public byte[] serialize(Tuple2<String, Long> pair) {
            return Long.toString(pair.f1).getBytes(StandardCharsets.US_ASCII);
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

    public static void main(String[] arguments) throws Exception {
        String broker = System.getenv("PEERS_BROKER");
        String name = System.getenv("PEERS_NAME");
        Configuration settings = new Configuration();
        settings.setString("execution.checkpointing.interval", "1 s");
        settings.setString("execution.checkpointing.mode", "EXACTLY_ONCE");
        settings.setString("execution.checkpointing.storage", "filesystem");
        settings.setString("execution.checkpointing.dir", Path.of(System.getenv("PEERS_FOLDER"), "state").toUri().toString());
        settings.setString("pipeline.object-reuse", "true");
        settings.setString("parallelism.default", System.getenv().getOrDefault("PEERS_THREADS", "2"));
        settings.setString("io.tmp.dirs", System.getenv("PEERS_FOLDER"));
        StreamExecutionEnvironment environment = StreamExecutionEnvironment.getExecutionEnvironment(settings);
        KafkaSource<String> source = KafkaSource.<String>builder()
                .setBootstrapServers(broker)
                .setGroupId(name)
                .setTopics(System.getenv("PEERS_TOPIC"))
                .setStartingOffsets(OffsetsInitializer.earliest())
                .setValueOnlyDeserializer(new Decode())
                .build();
        KafkaRecordSerializationSchema<Tuple2<String, Long>> spell = KafkaRecordSerializationSchema
                .<Tuple2<String, Long>>builder()
                .setTopic(name + "-result")
                .setKeySerializationSchema(new SpellKey())
                .setValueSerializationSchema(new SpellCount())
                .build();
        KafkaSink<Tuple2<String, Long>> sink = KafkaSink.<Tuple2<String, Long>>builder()
                .setBootstrapServers(broker)
                .setRecordSerializer(spell)
                .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
                .setTransactionalIdPrefix(name)
                .setProperty("transaction.timeout.ms", "60000")
                .build();
        environment
                .fromSource(source, WatermarkStrategy.noWatermarks(), "events")
                .keyBy(key -> key)
                .transform("count", TypeInformation.of(new TypeHint<Tuple2<String, Long>>() {}), new Count())
                .sinkTo(sink);
        environment.execute(name);
    }
}
