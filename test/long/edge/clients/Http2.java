// Asks a gateway over HTTP/2 as Java's own client does, and tells as JSON what came back. Arguments: URL, file with the certificate to trust.
import java.io.FileInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.ArrayList;
import java.util.concurrent.CompletableFuture;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public class Http2 {
  public static void main(String[] args) throws Exception {
    KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
    store.load(null, null);
    try (FileInputStream file = new FileInputStream(args[1])) {
      store.setCertificateEntry("gateway", CertificateFactory.getInstance("X.509").generateCertificate(file));
    }
    TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    trust.init(store);
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(null, trust.getTrustManagers(), null);
    HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_2).sslContext(context).build();
    String url = args[0];

    HttpResponse<String> first = client.send(HttpRequest.newBuilder(URI.create(url + "/echo/x")).build(), HttpResponse.BodyHandlers.ofString());
    ArrayList<CompletableFuture<String>> many = new ArrayList<>();
    for (int i = 0; i < 200; i++) {
      HttpRequest request = HttpRequest.newBuilder(URI.create(url + "/echo/status?body=" + i)).build();
      many.add(client.sendAsync(request, HttpResponse.BodyHandlers.ofString()).thenApply(HttpResponse::body));
    }
    int good = 0;
    for (int i = 0; i < many.size(); i++) if (many.get(i).join().equals(String.valueOf(i))) good++;
    HttpRequest upload = HttpRequest.newBuilder(URI.create(url + "/upload")).POST(HttpRequest.BodyPublishers.ofByteArray(new byte[5000003])).build();
    boolean uploaded = client.send(upload, HttpResponse.BodyHandlers.ofString()).body().contains("\"size\":5000003");
    boolean cancelled = false;
    try {
      HttpRequest hang = HttpRequest.newBuilder(URI.create(url + "/echo/hang")).timeout(Duration.ofMillis(300)).build();
      client.send(hang, HttpResponse.BodyHandlers.ofString());
    } catch (java.net.http.HttpTimeoutException timeout) {
      cancelled = true;
    }
    HttpRequest download = HttpRequest.newBuilder(URI.create(url + "/echo/download?mb=50")).build();
    long size = client.send(download, HttpResponse.BodyHandlers.ofByteArray()).body().length;
    System.out.printf(
        "{\"protocol\":\"%s\",\"good\":%d,\"uploaded\":%b,\"cancelled\":%b,\"downloaded\":%d}%n",
        first.version() == HttpClient.Version.HTTP_2 ? "HTTP/2.0" : "HTTP/1.1", good, uploaded, cancelled, size);
  }
}
