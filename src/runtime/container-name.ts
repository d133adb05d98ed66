/** Names for containers that were given none: an adjective and a person of science. */

const ADJECTIVES =
  'able agile amber ample astute balmy blithe bold brave breezy brisk calm candid cheery civil clear clever cosy crisp daring deft eager earnest easy exact fair fearless fine fleet fluent frank fresh gentle glad golden grand happy hardy hearty humble jolly keen kind lively lucid lucky mellow merry mighty mild neat nimble noble patient placid plucky polite proud quick quiet ready robust rosy serene sharp silent smart snug sober spry steady stoic sunny sure swift tidy tranquil trusty upbeat vivid warm wise witty zesty'.split(
    ' ',
  );
const PEOPLE =
  'abel agnesi alhazen ampere anning archimedes avicenna babbage banach bardeen bernoulli bessel bohr boltzmann boole born brahe braun cantor carson cauchy chandrasekhar clarke copernicus curie dalton darwin dijkstra dirac doppler eddington einstein elion erdos euclid euler faraday fermat fermi feynman fibonacci fourier franklin fresnel galilei galois gauss germain godel goodall hamilton hawking heisenberg herschel hertz hilbert hodgkin hooke hopper hubble huygens hypatia jacobi joule kepler khayyam kovalevskaya lagrange lamarr laplace leavitt leibniz liskov lorentz lovelace maxwell mayer mcclintock meitner mendel mirzakhani newton noether ohm pascal pasteur pauling payne perlman planck poincare ptolemy ramanujan riemann rubin sagan shannon somerville stokes tesla thales turing volta wiles wu yalow'.split(
    ' ',
  );

/** Decided by 4 random bytes; from the third attempt on with a number, since most short names may be taken. */
export function randomName(random: Uint8Array, attempt: number): string {
  const [a = 0, b = 0, c = 0, d = 0] = random;
  const name = `${ADJECTIVES[((a << 8) | b) % ADJECTIVES.length] ?? ''}_${PEOPLE[((c << 8) | d) % PEOPLE.length] ?? ''}`;
  return attempt < 3 ? name : `${name}${attempt + ((b << 8) | d)}`;
}
